"""Labels: which of a table's are probably wrong, and which texts to label next."""
