"""Services for every other package: atomic writes, hashes, several processes, progress bars."""
