"""Evidence of what routing loses: observations of requests that all tiers have answered, kept beside the ledger for all hosts."""

from collections.abc import Sequence
from typing import Protocol

from penstock.domain.ledger.routed import Observation


class EvidenceStore(Protocol):
    """Synchronous; every call is a transaction of its own. Raises `StoreError`.

    Observations that stand on records of shadows are added by `UsageStore.take_in`, in its transaction.
    """

    def add(self, observations: Sequence[Observation]) -> int:
        """Adds them, or puts them in the place of those of the same request with the same judge; how many were new."""

    def since(self, at_ns: int, route: str | None = None, limit: int | None = None) -> Sequence[Observation]:
        """Those from an instant on, oldest first; with a `limit` the newest so many, and as many of what people said: however much they
        say, it leaves no label out."""
