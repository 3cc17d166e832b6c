"""The identity of a backbone's weights: their source files, digest and fingerprint."""
