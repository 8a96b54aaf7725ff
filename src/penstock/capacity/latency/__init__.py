"""Fits the latency model to measurements: everyone's, and then a user's own."""
