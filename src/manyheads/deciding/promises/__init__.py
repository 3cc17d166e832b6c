"""Fit what is asked of a decision: when to abstain, prediction sets, thresholds, costs."""
