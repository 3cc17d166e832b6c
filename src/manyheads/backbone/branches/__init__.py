"""Branches: trainable copies of the stack that only heads read."""
