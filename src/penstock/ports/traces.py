"""Traces: where finished requests are told of as spans. Nothing waits for it, and nothing depends on it."""

from collections.abc import Sequence
from typing import Protocol

from penstock.domain.ledger.record import UsageRecord


class TracesError(Exception):
    """Traces cannot be sent from here at all. The message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Traces(Protocol):
    sent: int
    """requests whose spans the receiver has taken"""
    dropped: int
    """requests whose spans were given up"""

    def take(self, records: Sequence[UsageRecord]) -> None:
        """Queue finished requests. Returns at once and never raises: what does not fit is dropped, counted and told of."""

    def close(self, within_s: float = 5.0) -> None:
        """Send what is queued as far as the time allows, and end."""
