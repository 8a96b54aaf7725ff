"""Checks of answers by something outside the event loop: patterns and code that may run for ever, callables and services of users."""

from typing import Protocol

from penstock.domain.routing.signals.trials import Passed, Trial


class CheckError(Exception):
    """The check itself failed, so nothing is known of the answer. `hangs`: it did not end in time."""

    def __init__(self, message: str, *, hangs: bool = False) -> None:
        super().__init__(message)
        self.hangs = hangs


class CheckRunner(Protocol):
    """Runs checks beside the event loop: none of them can block it."""

    async def attempt(self, trial: Trial, timeout_s: float) -> Passed:
        """What came of a check, within `timeout_s`. Raises `CheckError`, and nothing else but `CancelledError`."""

    async def close(self) -> None:
        """Ends what is still running. Idempotent."""
