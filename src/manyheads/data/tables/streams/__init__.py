"""Tables read in pieces, in constant memory; with the same cells as ``read_table`` gives."""
