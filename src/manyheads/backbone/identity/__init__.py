"""Which weights a backbone has: the files they came from, and their fingerprint."""
