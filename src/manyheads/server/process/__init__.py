"""Processes: listening, stopping, several workers, and what they tell each other."""
