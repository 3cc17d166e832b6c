"""What pictures are made of: tags, scales, axes and marks."""
