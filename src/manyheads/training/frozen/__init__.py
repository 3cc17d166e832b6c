"""Training with a frozen backbone: features are computed once, heads are solved on them."""
