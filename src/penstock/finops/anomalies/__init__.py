"""Anomalies of spend and use: watched while they happen, explained, told of, and learned from."""
