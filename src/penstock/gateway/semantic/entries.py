"""The entries of the log in this worker's memory: by wording, by meaning, and whose answers agree.

A replica: other workers have the same entries, but for what they have not read yet. It belongs to the event loop. Hundreds of thousands
of entries must not be walked by every garbage collection, which would stop the loop: so they are kept in structs, tuples and plain
dictionaries of texts and numbers, which the collector leaves out.
"""

from collections.abc import Callable, Iterator, Sequence
from sys import intern
from typing import Any

import msgspec
import numpy as np

from penstock.domain.routing.similarity.evidence import Neighbour
from penstock.gateway.semantic.look import NOBODY, Look
from penstock.ports.answer_store import Entry
from penstock.ports.embedder import Vectors
from penstock.ports.vector_index import VectorIndex

NEIGHBOURS = 8
SAME_WORDING = 4
"""entries of one wording whose answers differ; the oldest goes first"""
OVERHEAD_BYTES = 1100
"""what an entry takes beside its text and its vector: struct, strings, places in four dictionaries (measured with tracemalloc)"""
SHARD_BYTES = 900
FEW = 4
"""vectors of a partition that are simply measured one by one"""
_SWEEPS = 4
"""searches for one question, while what they find has expired"""
_NS = 10**9

MayUse = Callable[[str, str | None], bool]
"""whether rules and key let this upstream answer, under this tier"""


class Kept(msgspec.Struct, gc=False):
    """What is known of an entry in memory; its vector is in the index, its answer in the store."""

    id: str
    at_ns: int
    expires_ns: int
    ends_at: float
    """monotonic seconds: whatever happens to the wall clock, it does not live longer than its time from here on"""
    partition: bytes
    wording: bytes
    text: str
    label: str
    """the first of the entries whose answers agree with this one's"""
    users: tuple[str, ...]
    """who asked, and who else had got an answer that agreed"""
    upstream: str
    tier: str | None
    stamp: str | None
    number: int
    curated: bool


class Shard:
    """The vectors of one partition that one embedder made. Most partitions have few, such as every conversation of several turns: an
    index is made only for more."""

    __slots__ = ("_few", "_index", "_new_index", "_next", "counted", "ids")

    def __init__(self, new_index: Callable[[], VectorIndex]) -> None:
        self._new_index = new_index
        self._few: dict[int, Vectors] = {}
        self._index: VectorIndex | None = None
        self._next = 0
        self.ids: dict[int, str] = {}
        self.counted = 0
        """bytes as they were last added up"""

    @property
    def size(self) -> int:
        """Bytes, nearly."""
        return SHARD_BYTES + (self._index.bytes if self._index is not None else sum(vector.nbytes for vector in self._few.values()))

    def add(self, entry: str, vector: Vectors) -> int:
        """Its number. Raises ValueError for a vector of other dimensions than the first one's."""
        number = self._next
        if self._index is None and len(self._few) < FEW:
            if any(len(other) != len(vector) for other in self._few.values()):
                raise ValueError(f"a vector of {len(vector)} dimensions among others")
            self._few[number] = vector
        else:
            self._as_index().add(number, vector)
        self.ids[number] = entry
        self._next += 1
        return number

    def remove(self, number: int) -> None:
        del self.ids[number]
        if self._index is not None:
            self._index.remove(number)
        else:
            del self._few[number]

    def search(self, vector: Vectors, most: int) -> Sequence[tuple[int, float]]:
        """At most so many (number, cosine similarity), the nearest first."""
        if self._index is not None:
            return self._index.search(vector, most)
        return sorted(((number, float(other @ vector)) for number, other in self._few.items()), key=lambda each: -each[1])[:most]

    def _as_index(self) -> VectorIndex:
        if self._index is None:
            index = self._new_index()
            for number, vector in self._few.items():
                index.add(number, vector)
            self._index, self._few = index, {}
        return self._index


class Entries:
    """`users`: distinct users whose answers must agree before others get one of them."""

    def __init__(self, new_index: Callable[[], VectorIndex], users: int) -> None:
        self._new_index, self._users = new_index, users
        self._kept: dict[str, Kept] = {}
        self._by_wording: dict[bytes, tuple[str, ...]] = {}
        """the oldest first"""
        self._shards: dict[tuple[bytes, str], Shard] = {}
        self._agreed: dict[str, dict[str, int]] = {}
        """by label: in how many entries each user is named"""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Memory that it takes, nearly."""
        return self._bytes + len(self._kept) * OVERHEAD_BYTES

    def get(self, entry: str) -> Kept | None:
        return self._kept.get(entry)

    def put(self, entry: Entry, now_ns: int, now_at: float) -> bool:
        """Takes an entry in. False: it is known already, or has expired and nobody vouches for it."""
        if entry.id in self._kept or (entry.expires_ns <= now_ns and not entry.curated):
            return False
        lives_ns = min(entry.expires_ns - now_ns, max(0, entry.expires_ns - entry.at_ns))
        label = entry.alike or entry.id
        users = tuple(intern(user) for user in dict.fromkeys((entry.user or NOBODY, *entry.users)))
        number = self._index(entry)
        self._kept[entry.id] = Kept(
            entry.id,
            entry.at_ns,
            entry.expires_ns,
            now_at + lives_ns / _NS,
            entry.partition,
            entry.wording,
            entry.text,
            intern(label) if entry.alike else entry.id,
            users,
            intern(entry.upstream),
            None if entry.tier is None else intern(entry.tier),
            intern(entry.embedder) if entry.embedder is not None and number >= 0 else None,
            number,
            entry.curated,
        )
        self._bytes += len(entry.text)
        self._by_wording[entry.wording] = (*self._by_wording.get(entry.wording, ()), entry.id)
        agreed = self._agreed.setdefault(label, {})
        for user in users:
            agreed[user] = agreed.get(user, 0) + 1
        return True

    def remove(self, entry: str) -> None:
        """Nothing happens where there is none."""
        kept = self._kept.pop(entry, None)
        if kept is None:
            return
        self._bytes -= len(kept.text)
        same = tuple(each for each in self._by_wording.pop(kept.wording) if each != entry)
        if same:
            self._by_wording[kept.wording] = same
        agreed = self._agreed[kept.label]
        for user in kept.users:
            agreed[user] -= 1
            if not agreed[user]:
                del agreed[user]
        if not agreed:
            del self._agreed[kept.label]
        if kept.stamp is not None:
            shard = self._shards[(kept.partition, kept.stamp)]
            shard.remove(kept.number)
            self._count(shard)
            if not shard.ids:
                self._bytes -= shard.counted
                del self._shards[(kept.partition, kept.stamp)]

    def clear(self) -> Iterator[None]:
        """Forgets everything at once: the log began anew. Its memory is given back piece by piece, with each step of what is returned."""
        gone: list[dict[Any, Any]] = [self._kept, self._by_wording, self._shards, self._agreed]
        self._kept, self._by_wording, self._shards, self._agreed, self._bytes = {}, {}, {}, {}, 0
        return _given_back(gone)

    def vouch(self, entry: str, curated: bool) -> None:
        """What a person vouches for has no end; when that is taken back, it has the one that it had before."""
        if (kept := self._kept.get(entry)) is not None:
            kept.curated = curated

    def users_of(self, label: str) -> tuple[str, ...]:
        """Everybody whose answers agreed with these."""
        return tuple(self._agreed.get(label, ()))

    def servable(self, kept: Kept, user: str) -> bool:
        """Whether this user may have its answer: own, confirmed by enough users, or vouched for."""
        agreed = self._agreed[kept.label]
        return kept.curated or user in agreed or len(agreed) >= self._users

    def same_words(self, look: Look, now_ns: int, now_at: float) -> Iterator[Kept]:
        """Entries of the very same question, the newest first."""
        for entry in reversed(self._by_wording.get(look.wording, ())):
            if (kept := self._living(entry, look, now_ns, now_at)) is not None:
                yield kept

    def neighbours(self, look: Look, vector: Vectors, stamp: str, may_use: MayUse, now_ns: int, now_at: float) -> list[Neighbour]:
        """The nearest entries of the partition that the same embedder made, the nearest first."""
        shard = self._shards.get((look.partition, stamp))
        for _ in range(_SWEEPS):
            if shard is None or not shard.ids:
                return []
            nearest = [(self._living(shard.ids[number], look, now_ns, now_at), near) for number, near in shard.search(vector, NEIGHBOURS)]
            if all(kept is not None for kept, _ in nearest):
                break
        return [
            Neighbour(
                kept.id,
                kept.text,
                near,
                kept.label,
                kept.id != look.banned and self.servable(kept, look.user) and may_use(kept.upstream, kept.tier),
            )
            for kept, near in nearest
            if kept is not None
        ]

    def is_rewritten(self, entry: str) -> bool:
        """Whether a person vouches for another answer to the very same question."""
        kept = self._kept.get(entry)
        return kept is not None and any(each != entry and self._kept[each].curated for each in self._by_wording[kept.wording])

    def crowded(self, wording: bytes) -> str | None:
        """The entry that gives way to a further one of the same wording; None: there is room."""
        same = self._by_wording.get(wording, ())
        return same[0] if len(same) >= SAME_WORDING else None

    def _living(self, entry: str, look: Look, now_ns: int, now_at: float) -> Kept | None:
        """Nothing, where it has expired, or is older than answers may be by now: all requests of its partition say the same of that."""
        kept = self._kept[entry]
        if kept.curated or (kept.expires_ns > now_ns and kept.ends_at > now_at and now_ns - kept.at_ns < look.ttl_s * _NS):
            return kept
        self.remove(entry)
        return None

    def _index(self, entry: Entry) -> int:
        """The number of its vector; -1: it has none that can be compared, and serves the same wording only."""
        if entry.vector is None or entry.embedder is None:
            return -1
        vector = np.frombuffer(entry.vector, dtype="<f4").astype(np.float32, copy=False)
        place = (entry.partition, intern(entry.embedder))
        shard = self._shards.get(place) or Shard(self._new_index)
        try:
            number = shard.add(entry.id, vector)
        except ValueError:
            return -1
        self._shards[place] = shard
        self._count(shard)
        return number

    def _count(self, shard: Shard) -> None:
        """Brings the sum up to date with a shard; it also grows by being searched."""
        size = shard.size
        self._bytes += size - shard.counted
        shard.counted = size


def _given_back(gone: list[dict[Any, Any]]) -> Iterator[None]:
    for each in gone:
        while each:
            each.popitem()
            yield
