"""Replayed traffic on simulated fleets: continuous batching, scaling policies, cold starts, interruptions."""
