"""What every part of the program runs on: files written whole, several processes, progress bars."""
