"""Fit decisions of trained heads on labelled rows that they were not trained on."""
