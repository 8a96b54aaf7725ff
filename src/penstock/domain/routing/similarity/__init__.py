"""When two questions are the same: words, differences that matter, and how sure one may be of it."""
