"""One picture per file: from numbers to inline SVG."""
