"""What requests and responses look like as JSON."""
