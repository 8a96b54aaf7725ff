"""The audit log: who changed what and when, and what an automatic response was meant to bring and brought. Entries are never changed."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. `actor`: `cli:<user>`, `http:<address>`, `objective:<name>`, `budget:<name>`, `penstock`. `action` is two words with a
    dot: `key.create`, `key.revoke`, `key.rotate`, `directive.begin`, `directive.end`, `budget.change`, `anomaly.feedback` ..."""

    id: str
    at_ns: int
    actor: str
    action: str
    subject: str
    """what was changed: id of the key, name of the budget, id of the directive"""
    details: dict[str, Any] = {}
    """JSON; money as decimal strings of USD, never a secret"""


class AuditLog(Protocol):
    """Synchronous. Raises `StoreError`."""

    def write(self, entry: AuditEntry) -> None:
        """An entry of this id that is there already stays as it is."""

    def since(self, at_ns: int = 0, limit: int | None = None) -> Sequence[AuditEntry]:
        """Newest first."""
