"""What callers say of answers (`POST /v1/feedback`): kept beside the ledger, and told to the cache where the answer came from it, and to
routing where a cheap tier gave it.

A caller is a tenant, else a key with all its rotations, else everybody without a key. Only requests of the caller's own can be rated.
The last word is kept; each of "right" and "wrong" teaches the cache once, however often it is said.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from penstock.domain.ledger.record import UsageRecord
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.keeping import removals
from penstock.finops.window import iso
from penstock.ports.answer_store import AnswerStoreError, Event, Told
from penstock.ports.documents import Document, Documents
from penstock.ports.key_store import ApiKey

KIND = "feedback"
LONGEST_COMMENT = 1000
KEYLESS = "keyless"
BY_MEANING = ("semantic", "normalised")
"""cache outcomes that somebody else's words were answered with"""
_TRIES = 5
_SCORES = {"up": 1.0, "down": 0.0, 1: 1.0, -1: 0.0}


class Rating(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/feedback`."""

    request_id: str
    rating: Literal["up", "down", 1, -1] | None = None
    score: Annotated[float, Meta(ge=0, le=1)] | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        if (self.rating is None) == (self.score is None):
            raise ValueError("either `rating` or `score` says how good the answer was")

    @property
    def value(self) -> float:
        """0: wrong; 1: right."""
        return self.score if self.score is not None else _SCORES[self.rating or "up"]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller said last of one request: the body of its document."""

    request_id: str
    caller: str
    score: float
    comment: str
    cache: str
    """what the cache did for that request"""
    taught: tuple[bool, ...] = ()
    """verdicts that the cache has been told of"""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    said: Said
    at_ns: int
    entry: str | None
    """the entry of the cache that the answer came from"""
    removed: bool
    """that entry is not served again"""


class NotYours(LookupError):
    """There is no such request, or not of this caller: which, is not told."""


class FeedbackDesk:
    """Takes ratings. Methods raise `StoreError`, `JournalError`; they run in threads."""

    def __init__(
        self,
        documents: Documents,
        find: Callable[[str], UsageRecord | None],
        keys: Callable[[], Iterable[ApiKey]],
        answers: AnswerLog | None,
        routed: Callable[[UsageRecord, float, int], None] | None = None,
    ) -> None:
        """`find` looks a record up in store and journal; `answers`: the log of the cache, None where nothing is answered by meaning;
        `routed` hears of every rating, for what it says of the tier that answered."""
        self._documents, self._find, self._keys, self._answers, self._routed = documents, find, keys, answers, routed

    def key_of(self, sha256: str) -> ApiKey | None:
        """The key whose secret has this fingerprint, whatever has become of it."""
        return next((key for key in self._keys() if key.sha256 == sha256), None)

    def give(self, rating: Rating, key: ApiKey | None, now_ns: int) -> Heard:
        """Keeps it and tells the cache. Raises `NotYours`, `AnswerStoreError` (it is kept then, and may be sent again)."""
        record, caller = self._find(rating.request_id), caller_of(key)
        if record is None or self._maker(record) != caller:
            raise NotYours(rating.request_id)
        right = None if rating.value == 0.5 else rating.value > 0.5
        said, teaches = self._keep(rating, record, caller, right, now_ns)
        if self._routed is not None:
            self._routed(record, rating.value, now_ns)
        entry = entry_of(record)
        try:
            removed = self._teach(record, entry, right, teaches, now_ns)
        except AnswerStoreError:
            if teaches:
                self._unlearn(said, right, now_ns)
            raise
        return Heard(said=said, at_ns=now_ns, entry=entry, removed=removed)

    def _maker(self, record: UsageRecord) -> str | None:
        """Who made a request; None: a key that is not known any more."""
        if record.key_id is None:
            return KEYLESS
        key = next((key for key in self._keys() if key.id == record.key_id), None)
        return None if key is None else caller_of(key)

    def _keep(self, rating: Rating, record: UsageRecord, caller: str, right: bool | None, now_ns: int) -> tuple[Said, bool]:
        """What is kept now, and whether the cache has yet to hear of it: whoever says the same at the same moment is not heard twice."""
        id = f"{record.id}/{caller}"
        for _ in range(_TRIES):
            stored = self._documents.get(KIND, id)
            before = () if stored is None else msgspec.json.decode(stored.body, type=Said).taught
            teaches = right is not None and right not in before
            said = Said(
                request_id=record.id, caller=caller, score=rating.value, comment=rating.comment[:LONGEST_COMMENT], cache=record.cache,
                taught=(*before, right) if teaches and right is not None else before,
            )  # fmt: skip
            document = Document(KIND, id, now_ns, msgspec.json.encode(said).decode())
            if self._documents.swap(document, None if stored is None else stored.body):
                return said, teaches
        return said, False  # the same caller says the same from several places at once: they have told it

    def _teach(self, record: UsageRecord, entry: str | None, right: bool | None, teaches: bool, now_ns: int) -> bool:
        """Whether the entry is gone. An answer that its own asker, or who got it for the very same request, calls wrong is not replayed to
        others, either: also where there is no entry, for the exact layer may have it."""
        if self._answers is None or right is None:
            return False
        self._answers.follow()
        source = entry or record.cache_source or record.id
        own = self._answers.standing.kept.get(source)
        goes = not right and own is not None and not own.curated
        events: list[Event] = []
        if teaches and entry is not None:
            risk = record.cache_decision.risk if record.cache_decision is not None else None
            scope = tuple(own.scope.split(" ")) if own is not None else ()
            told = Told(id=record.id, at_ns=now_ns, entry=entry, right=right, source="feedback", risk=risk, scope=scope)
            events.append(told)
        if goes or (not right and own is None and teaches):
            events += removals([source], "wrong", now_ns)
        if events:
            self._answers.append(events)
        return goes

    def _unlearn(self, said: Said, right: bool | None, now_ns: int) -> None:
        """The cache was not told: who says it again is heard."""
        left = msgspec.structs.replace(said, taught=tuple(each for each in said.taught if each != right))
        self._documents.put(Document(KIND, f"{said.request_id}/{said.caller}", now_ns, msgspec.json.encode(left).decode()))


def caller_of(key: ApiKey | None) -> str:
    """Who a key speaks for, as the cache partitions answers by it: its tenant, else all of its chain of rotations."""
    if key is None:
        return KEYLESS
    return f"tenant={key.tags['tenant']}" if "tenant" in key.tags else f"key={key.account}"


def entry_of(record: UsageRecord) -> str | None:
    """The entry that a request was answered from in somebody else's words; None: it was not."""
    if record.cache not in BY_MEANING:
        return None
    told = record.cache_decision
    return told.entry if told is not None and told.entry is not None else record.cache_source


def heard_json(heard: Heard) -> dict[str, object]:
    """The answer to the caller."""
    cache = None if heard.entry is None else {"entry": heard.entry, "removed": heard.removed}
    return {
        "object": "feedback",
        "request_id": heard.said.request_id,
        "score": heard.said.score,
        "comment": heard.said.comment,
        "at": iso(heard.at_ns),
        "cache": cache,
    }
