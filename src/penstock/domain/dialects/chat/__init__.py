"""OpenAI chat completions (and the older completions): calls, answers and streams, read and written."""
