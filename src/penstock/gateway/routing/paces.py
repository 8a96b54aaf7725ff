"""How quick the models were lately, as this worker has seen it: what a wish for a quick answer is measured against."""

from collections import deque
from typing import Final

from penstock.domain.ledger.record import UsageRecord

KEPT: Final = 200
"""answers of a model that are looked back at"""
LEAST: Final = 20
"""answers below which nothing is said"""


class Paces:
    """For streams the time to the first token, for others the time to the whole answer."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, bool], deque[float]] = {}

    def note(self, record: UsageRecord) -> None:
        """Keeps how long an answer took that its first model gave by itself; one that was tried for elsewhere says nothing of a model."""
        if record.outcome != "ok" or record.cache_source is not None or record.model is None or ">" in (record.route or ""):
            return
        took_us = record.first_token_us if record.streamed else record.duration_us
        if took_us is not None:
            self._seconds.setdefault((record.model, record.streamed), deque(maxlen=KEPT)).append(took_us / 1e6)

    def p95(self, model: str, streamed: bool) -> float | None:
        """Seconds that 95 % of its answers took at most; None: too few were seen."""
        seen = self._seconds.get((model, streamed), ())
        return None if len(seen) < LEAST else sorted(seen)[-(-len(seen) * 95 // 100) - 1]
