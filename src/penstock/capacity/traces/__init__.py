"""Traces that are read: published ones, files of one's own, and the ledger."""

from penstock.capacity.traces.reading import Read, read_trace

__all__ = ["Read", "read_trace"]
