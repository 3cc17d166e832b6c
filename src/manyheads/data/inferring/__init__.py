"""Infer a head's kind and labels from the cells of a column."""
