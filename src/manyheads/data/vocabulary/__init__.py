"""The tokenizer's vocabulary: words worth adding, and adding them."""
