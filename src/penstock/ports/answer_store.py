"""What the semantic cache keeps, shared by workers and hosts: a log of what happened to it, and the answers themselves.

Every process reads the log from its beginning, in the same order, and so comes to the same entries and the same learned state. The
log is the truth; indexes in memory are made from it anew after every start.
"""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import msgspec

from penstock.domain.routing.similarity.evidence import Compared, Looked
from penstock.ports.cache import CachedAnswer

JUDGES: Final = "deciders"
"""name of the state of all judges, where workers look for it: scope in words -> state, those heard of longest ago first"""
MOST_JUDGES: Final = 2_000
"""judges that anybody keeps; those of scopes that were not heard of for longest are forgotten"""


class AnswerStoreError(Exception):
    """The store could not do what was asked. The message says what, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class LogBegunAnewError(AnswerStoreError):
    """The log is not the one that a place is from: it was lost, set aside or put back. Forget what was read, and read from 0."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="entry"):
    """A question whose answer is kept under the same id."""

    id: str
    """of the request that the answer was made for"""
    at_ns: int
    expires_ns: int
    partition: bytes
    """16 bytes: everything of the request but the question; what differs in it is never compared"""
    scope: tuple[str, ...]
    """who may see it, in words, as `[cache] scope` says"""
    wording: bytes
    """16 bytes: partition and normalised question; equal ones are the same question"""
    text: str
    """the question"""
    vector: bytes | None
    """float32, little-endian; None: it was not embedded, and serves the same wording only"""
    embedder: str | None
    model: str
    upstream: str
    tier: str | None
    user: str | None
    """who asked: the `user` tag, else the key; None: nobody was named"""
    users: tuple[str, ...] = ()
    """who else had asked the same and got an answer that agreed, when it was put"""
    tags: dict[str, str] = {}
    answer_bytes: int = 0
    worth: int | None = None
    """nano-USD that replaying it once saves; None: unknown"""
    alike: str | None = None
    """the entry whose answer agreed with this one's, if any: both are one answer in two wordings"""
    curated: bool = False
    """a person vouches for it: it never has to be confirmed, and is evicted last"""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="evidence"):
    """What one request taught: its neighbours, compared with the fresh answer that it got."""

    id: str
    """of the request"""
    at_ns: int
    partition: bytes
    scope: tuple[str, ...]
    compared: tuple[Compared, ...]
    chosen: str | None = None
    """the entry that was judged best; None: there was none"""
    fits: bool = False
    """it would have been served, but for the coin that made a probe of it, or for shadow mode"""
    risk: float | None = None
    """probability that its answer is wrong, as judged before"""
    propensity: float = 1.0
    """probability with which this request was sent to the model: 1 where nothing would have been served"""
    user: str | None = None
    embedder: str | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="told"):
    """What somebody said of an answer that was served: `POST /v1/feedback`, or a question asked again at once."""

    id: str
    """of the request that was answered from the cache"""
    at_ns: int
    entry: str
    right: bool
    source: Literal["feedback", "regenerate", "operator"]
    risk: float | None = None
    scope: tuple[str, ...] = ()
    """of the entry, which may be gone when this is read; empty: not known, and nobody learns of it"""


class Used(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="used"):
    """How often a worker has served entries, and what it looked at, since it last said so."""

    at_ns: int
    worker: str
    served: dict[str, int] = {}
    """entry -> times"""
    scopes: dict[str, Looked] = {}
    """scope (joined by ` `) -> what was looked at"""


class Removal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="removal"):
    """Entries that must not be served again; their answers are gone with it."""

    at_ns: int
    entries: tuple[str, ...]
    reason: Literal["expired", "evicted", "purged", "wrong", "replaced"]


class Vouched(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="vouched"):
    """A person pinned an entry, or took that back."""

    at_ns: int
    entry: str
    curated: bool


Event = Entry | Evidence | Told | Used | Removal | Vouched


class Numbered(msgspec.Struct, frozen=True):
    """An event at its place in the log; places grow, and may have gaps."""

    place: int
    event: Event


class AnswerStore(Protocol):
    """Synchronous, from any thread, one call after another; every call is a transaction of its own. Raises `AnswerStoreError`.

    A call that raised may be repeated: an event that stands in the log already, byte for byte, is not added again. Nothing depends on
    the clock: what has expired is there until a `Removal` says so.
    """

    def append(self, events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]] = ()) -> None:
        """Adds to the log, all or nothing, with the answers of entries among the events; ValueError for any other answer.

        What was added outlives this process as soon as this returns. A `Removal` takes entries, what was vouched for them and their
        answers away; an entry that comes again under its id, or is vouched for again, takes the place of the event before.
        """

    def since(self, place: int, most: int = 1000) -> Sequence[Numbered]:
        """What follows a place, in order; 0: from the beginning; nothing: that was all. An event is never seen before one of a lower place.

        Events that another version wrote, and that cannot be read, are left out. Raises `LogBegunAnewError` for a place of a log that is
        no more: places say which log they are of.
        """

    @property
    def unreadable(self) -> int:
        """Events that were left out so far."""

    def answer(self, entry: str) -> CachedAnswer | None:
        """None: there is no such entry, or what another version kept cannot be read."""

    def keep_state(self, name: str, place: int, state: bytes) -> None:
        """Keeps what was learned from the log up to a place, unless a later one is kept: evidence before it need not be read again.

        Raises `LogBegunAnewError` as `since` does.
        """

    def state(self, name: str) -> tuple[int, bytes] | None:
        """The latest that was kept: its place and state."""

    def trim(self, place: int, before_ns: int) -> int:
        """Forgets events up to a place that are older than that, but neither entries nor what was vouched for them; how many.

        Raises `LogBegunAnewError` as `since` does.
        """

    def size(self) -> tuple[int, int]:
        """(entries, bytes of questions, vectors and answers)."""

    def close(self) -> None:
        """The next call opens it again."""
