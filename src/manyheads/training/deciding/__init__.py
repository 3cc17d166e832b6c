"""Fit how heads turn scores into answers, on rows that did not fit the scores."""
