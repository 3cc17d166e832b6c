"""Tables, texts, labels, splits and batches: from what people have to what a forward takes."""
