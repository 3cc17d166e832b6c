"""Saved models in repositories of the Hugging Face hub."""
