"""How good a model is: metrics per head, and what became of the language model."""
