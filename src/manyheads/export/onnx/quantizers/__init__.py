"""Graphs in INT8: one file per scheme, and the table of them."""
