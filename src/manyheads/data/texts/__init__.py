"""Texts: read from a table, split into words, tokenized."""
