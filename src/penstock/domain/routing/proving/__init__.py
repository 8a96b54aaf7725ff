"""Whether a cheap way of answering keeps an error budget: evidence, what it proves, and which ways are open."""
