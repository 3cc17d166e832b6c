"""Counts for Prometheus."""
