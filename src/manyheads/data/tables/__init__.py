"""Tables: CSV, JSON Lines, Parquet and data frames, read and written by column."""
