"""Resuming an interrupted training run from its checkpoints."""
