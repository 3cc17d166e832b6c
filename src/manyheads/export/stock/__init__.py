"""Heads as stock classifiers of transformers: the class is found by the config, and its layers by running it."""
