"""Anthropic Messages: calls, answers and streams, read and written."""
