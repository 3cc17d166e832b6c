"""Predict with an exported graph: onnxruntime, tokenizers and numpy, without torch."""
