"""OpenAI Responses: calls, answers and streams, read and written."""
