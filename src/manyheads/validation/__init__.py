"""What a method is worth on a table: predictions of rows by heads that were trained without them."""
