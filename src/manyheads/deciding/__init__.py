"""Fit a head's decision to rows that the head was not trained on."""
