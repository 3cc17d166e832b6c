"""Choosing what a head reads: layers, poolings and their combinations."""
