"""Messages to people, and the ways they go: what is told is a `Message`, where it goes is a `Notifier` for each `[notify.*]`."""

from typing import Any, Literal, Protocol

import msgspec

Severity = Literal["info", "warning", "critical"]


class NotifyError(Exception):
    """A message was not taken. `retry`: it may be later, after `after_s` if the receiver said so. Never holds the address, a secret."""

    def __init__(self, message: str, hint: str = "", *, retry: bool = True, after_s: float | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.retry = retry
        self.after_s = after_s


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of news. A message of the same `id` is told to the same recipient once."""

    id: str
    """made from what it is about, not by chance: `budget/<name>/<period begin>/<mark>`"""
    at_ns: int
    """when what it tells of began"""
    subject: str
    """one line"""
    text: str
    """a few lines of plain text"""
    severity: Severity = "info"
    status: Literal["firing", "resolved"] = "firing"
    labels: dict[str, str] = {}
    """what it is about, as of an alert of Prometheus: `alertname`, `budget`, `mark`, `objective` ..."""
    details: dict[str, Any] = {}
    """JSON, for programs; money as decimal strings of USD, unknown as null"""
    link: str | None = None
    """a page of the console"""


class Notifier(Protocol):
    """One `[notify.*]`. Called from threads, one call at a time."""

    def deliver(self, message: Message) -> None:
        """Returns when it was taken. Raises `NotifyError`."""
