"""The head kinds, one per file."""
