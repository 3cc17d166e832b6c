"""The demo: two stories on embedded samples, which are also the project's smoke test."""
