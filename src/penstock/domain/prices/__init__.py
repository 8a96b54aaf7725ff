"""The dated price book: what a token cost at a given time, as exact integers."""
