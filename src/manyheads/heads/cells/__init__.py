"""Label cells: what one cell of a label column contains."""
