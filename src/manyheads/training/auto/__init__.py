"""The choice of a method: candidates within a time budget, compared on training rows that none of them sees."""
