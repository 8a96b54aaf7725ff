"""Scaling policies: when a fleet grows and shrinks, by which signal."""
