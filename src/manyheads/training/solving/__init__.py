"""Solving heads on stored features."""
