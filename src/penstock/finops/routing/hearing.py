"""What people say of answers that a cheap tier gave is evidence, too: it can close a way, never open one (see `labels`)."""

from collections.abc import Callable, Mapping

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.routing.saying import said_of
from penstock.ports.evidence import EvidenceStore


class RouteFeedback:
    """Takes ratings of requests that went over tiers. The last word of a caller stands; a better one takes a complaint back."""

    def __init__(self, editions: Mapping[str, Mapping[str, str]], evidence: EvidenceStore, told: Callable[[], None]) -> None:
        """`editions`: of each route of the config who answers for its tiers; `told` is called when there is news."""
        self._editions, self._evidence, self._told = editions, evidence, told

    def __call__(self, record: UsageRecord, score: float, now_ns: int) -> None:
        """`score`: 0 (wrong) to 1 (right). Nothing, where routing had no part in the answer. Raises `StoreError`."""
        said = said_of(record, score, self._editions.get(record.requested_model or "", {}), now_ns)
        if said is not None:
            self._evidence.add([said])
            self._told()
