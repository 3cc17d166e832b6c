"""Training with a frozen backbone: features computed once, heads solved on them."""
