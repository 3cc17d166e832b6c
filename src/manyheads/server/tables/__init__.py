"""Tables that are uploaded: read within limits, cut into blocks, and written as CSV block by block."""
