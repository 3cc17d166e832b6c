"""The stack of blocks: found, probed and run on right-padded batches."""
