"""Anomalies as they are kept, with what people said of them: documents, so that every host and the command line see the same."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from penstock.domain.budgets.anomalies import Anomaly, Scope
from penstock.domain.budgets.causes import Cause
from penstock.domain.prices.schedule import DAY_NS
from penstock.ports.documents import Document, Documents

Verdict = Literal["YES", "NO", "PLANNED_ACTIVITY"]
KIND: Final = "anomaly"
FEEDBACK_KIND: Final = "anomaly_feedback"
WATCH_KIND: Final = "anomaly_watch"
LONGEST_NS: Final = 9 * DAY_NS
"""none begins earlier than this before its end"""
KEPT_NS: Final = 400 * DAY_NS


class Found(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One anomaly as it stands. Money is nano-USD; `observed` and `usual` are in the unit of its metric (`UNITS`), None is unknown."""

    id: str
    team: str | None
    feature: str | None
    model: str | None
    """None: all of the feature"""
    metric: str
    metrics: tuple[str, ...]
    """all that were beyond the usual, `metric` first"""
    begin_ns: int
    found_ns: int
    end_ns: int | None = None
    """None: it goes on"""
    stayed: bool = False
    """it ended because it has become the usual"""
    observed: float | None
    usual: float | None
    cost: int
    usual_cost: int
    impact: int
    """what it cost beyond the usual"""
    requests: int
    score: float
    causes: tuple[Cause, ...] = ()
    state: Anomaly | None = None
    """where the watch goes on after a restart; None once it has ended"""

    @property
    def scope(self) -> Scope:
        return self.team, self.feature


UNITS: Final[Mapping[str, str]] = {
    "spend": "nano-USD", "requests": "requests", "error_cost": "nano-USD", "cp1kt": "nano-USD per 1,000 tokens",
    "tokens_per_request": "tokens", "cache_rate": "share",
}  # fmt: skip


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody said of an anomaly, with what is needed to learn from it. The last word counts."""

    anomaly: str
    verdict: Verdict
    team: str | None
    feature: str | None
    metrics: tuple[str, ...]
    begin_ns: int
    at_ns: int
    note: str = ""


class AnomalyBook:
    """Over `Documents`; every method raises `StoreError`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def put(self, found: Found) -> None:
        self._documents.put(Document(KIND, found.id, found.begin_ns, msgspec.json.encode(found).decode()))

    def get(self, id: str) -> Found | None:
        document = self._documents.get(KIND, id)
        return None if document is None else _read(document)

    def since(self, since_ns: int, until_ns: int = 2**63 - 1) -> list[Found]:
        """Those that went on in [since, until), newest first."""
        found = map(_read, self._documents.since(KIND, max(since_ns - LONGEST_NS, 0)))
        return [each for each in found if each.begin_ns < until_ns and (each.end_ns is None or each.end_ns > since_ns)]

    def watched_since(self) -> int | None:
        """When the watch began, unix ns; what was before was looked through by the hour. None: it never did."""
        document = self._documents.get(WATCH_KIND, "begin")
        return None if document is None else document.at_ns

    def begin_watch(self, at_ns: int) -> None:
        self._documents.add(Document(WATCH_KIND, "begin", at_ns, "{}"))

    def say(self, feedback: Feedback) -> None:
        self._documents.put(Document(FEEDBACK_KIND, feedback.anomaly, feedback.at_ns, msgspec.json.encode(feedback).decode()))

    def feedback(self, since_ns: int = 0) -> dict[str, Feedback]:
        """By anomaly."""
        return {each.id: msgspec.json.decode(each.body, type=Feedback) for each in self._documents.since(FEEDBACK_KIND, since_ns)}

    def sweep(self, now_ns: int) -> int:
        """Forgets what is older than `KEPT_NS`; returns how many documents that were."""
        old = list(self._old(now_ns - KEPT_NS))
        for kind, id in old:
            self._documents.remove(kind, id)
        return len(old)

    def _old(self, before_ns: int) -> Iterator[tuple[str, str]]:
        for kind in (KIND, FEEDBACK_KIND):
            yield from ((kind, each.id) for each in self._documents.since(kind) if each.at_ns < before_ns)


def anomaly_id(scope: Scope, begin_ns: int) -> str:
    """Short, and the same whoever finds it."""
    return blake2b(repr((scope, begin_ns)).encode(), digest_size=5).hexdigest()


def _read(document: Document) -> Found:
    return msgspec.json.decode(document.body, type=Found)
