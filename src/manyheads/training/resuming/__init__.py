"""Resuming an interrupted run from its checkpoints."""
