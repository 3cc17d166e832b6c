"""Requests and responses: reading bodies within limits, keys, errors, and clients that left."""
