"""What the log of the semantic cache comes to: entries and how often they served, and by scope what was looked at and measured.

Vectors are dropped and texts kept only on demand, so that following a log of many entries takes little memory.
"""

from collections.abc import Iterable, Iterator
from sys import intern

import msgspec

from penstock.domain.routing.similarity.evidence import Looked
from penstock.finops.caching.measuring import Probes, probe_of
from penstock.ports.answer_store import Entry, Event, Evidence, Numbered, Removal, Told, Used, Vouched

STATE = "standing"
"""name under which its state is kept in the store"""
OVERHEAD = 400
"""bytes of an entry beside its texts, vector and answer, nearly"""


class Kept(msgspec.Struct, kw_only=True):
    """An entry as it stands now. Times are unix nanoseconds, `worth` nano-USD."""

    id: str
    at_ns: int
    expires_ns: int
    scope: str
    size: int
    """bytes, nearly"""
    worth: int | None
    curated: bool
    served: int = 0
    used_ns: int
    """when it last served, else when it was put"""
    place: int = 0
    """of the event that put it, in the log"""
    entry: Entry | None = None
    """what was put, without its vector; None where texts are not kept"""

    def expired(self, now_ns: int) -> bool:
        """Whether its time is over; what a person vouches for has no end."""
        return not self.curated and self.expires_ns <= now_ns


class ScopeStanding(msgspec.Struct, kw_only=True):
    """One scope: what it holds, what came of its requests, and what is known of wrong answers."""

    entries: int = 0
    bytes: int = 0
    curated: int = 0
    looked: Looked = Looked()
    probes: Probes = Probes()
    told_right: int = 0
    told_wrong: int = 0


class _State(msgspec.Struct):
    """What can't be read from the log any more when it was trimmed: sums by scope, and what became of entries."""

    scopes: dict[str, tuple[Looked, Probes, int, int]]
    entries: dict[str, tuple[int, int, bool]]
    """entry -> times served, last time, whether a person vouches for it; only where it differs from what was put"""
    removed: dict[str, int]


class Standing:
    """Made by reading the log from its beginning, or from a state on. Not for several threads at once."""

    def __init__(self, *, whole: bool = False) -> None:
        """`whole`: keeps questions and tags, for `penstock cache find`."""
        self._whole = whole
        self.kept: dict[str, Kept] = {}
        self.scopes: dict[str, ScopeStanding] = {}
        self.removed: dict[str, int] = {}
        """reason -> entries"""
        self.embedders: dict[str, int] = {}
        """stamp -> entries that were put with it, since this reader began"""
        self.place = 0
        self._known_to = 0
        self._remembered: dict[str, tuple[int, int, bool]] = {}

    def apply(self, events: Iterable[Numbered]) -> None:
        """Takes in what follows in the log; what is known already is passed over."""
        for numbered in events:
            if numbered.place <= self.place:
                continue
            self.place = numbered.place
            if isinstance(numbered.event, Entry):
                self._put(numbered.event, numbered.place)
            elif numbered.place > self._known_to:
                self._take(numbered.event)

    def total_bytes(self) -> int:
        """Of all entries, nearly."""
        return sum(scope.bytes for scope in self.scopes.values())

    def in_scope(self, scope: str) -> ScopeStanding:
        """The standing of a scope, empty where nothing is known of it."""
        return self.scopes.setdefault(intern(scope), ScopeStanding())

    def state(self) -> bytes:
        """All that a later reader of a trimmed log has to know."""
        changed = {
            each.id: (each.served, each.used_ns, each.curated)
            for each in self.kept.values()
            if each.served or each.curated or each.used_ns != each.at_ns
        }
        scopes = {name: (each.looked, each.probes, each.told_right, each.told_wrong) for name, each in self.scopes.items()}
        return msgspec.msgpack.encode(_State(scopes, changed, self.removed))

    def restore(self, place: int, state: bytes) -> None:
        """Goes on from a state, before anything was read: up to its place only entries are read anew. Raises `msgspec.DecodeError`."""
        told = msgspec.msgpack.decode(state, type=_State)
        self._known_to, self._remembered, self.removed = place, told.entries, told.removed
        for name, (looked, probes, right, wrong) in told.scopes.items():
            scope = self.in_scope(name)
            scope.looked, scope.probes, scope.told_right, scope.told_wrong = looked, probes, right, wrong

    def _take(self, event: Event) -> None:
        match event:
            case Evidence():
                if (probe := probe_of(event)) is not None:
                    scope = self.in_scope(scope_words(event.scope))
                    scope.probes = scope.probes.plus(probe)
            case Used():
                self._used(event)
            case Removal():
                self._remove(event)
            case Told():
                if event.scope:
                    scope = self.in_scope(scope_words(event.scope))
                    scope.told_right += event.right
                    scope.told_wrong += not event.right
            case Vouched():
                if (kept := self.kept.get(event.entry)) is not None and kept.curated != event.curated:
                    kept.curated = event.curated
                    self.in_scope(kept.scope).curated += 1 if event.curated else -1

    def _put(self, entry: Entry, place: int) -> None:
        """An entry that comes again, as one that is pinned does, has served as often as before."""
        before = self.kept.get(entry.id)
        known = self._remembered.pop(entry.id, (0, entry.at_ns, entry.curated))
        served, used_ns, curated = known if before is None else (before.served, before.used_ns, before.curated)
        curated = entry.curated if place > self._known_to else curated
        self._forget(entry.id)
        size = len(entry.text.encode()) + len(entry.vector or b"") + entry.answer_bytes + OVERHEAD
        kept = Kept(
            id=entry.id, at_ns=entry.at_ns, expires_ns=entry.expires_ns, scope=intern(scope_words(entry.scope)), size=size,
            worth=entry.worth, curated=curated, served=served, used_ns=used_ns, place=place,
            entry=msgspec.structs.replace(entry, vector=None) if self._whole else None,
        )  # fmt: skip
        self.kept[entry.id] = kept
        scope = self.in_scope(kept.scope)
        scope.entries += 1
        scope.bytes += size
        scope.curated += curated
        if entry.embedder is not None and before is None:
            self.embedders[entry.embedder] = self.embedders.get(entry.embedder, 0) + 1

    def _used(self, event: Used) -> None:
        for id, times in event.served.items():
            if (kept := self.kept.get(id)) is not None:
                kept.served += times
                kept.used_ns = max(kept.used_ns, event.at_ns)
        for name, more in event.scopes.items():
            scope = self.in_scope(name)
            fields = zip(msgspec.structs.astuple(scope.looked), msgspec.structs.astuple(more), strict=True)
            scope.looked = Looked(*(before + added for before, added in fields))

    def _remove(self, event: Removal) -> None:
        gone = sum(map(self._forget, event.entries))
        if gone:
            self.removed[event.reason] = self.removed.get(event.reason, 0) + gone

    def _forget(self, id: str) -> bool:
        if (kept := self.kept.pop(id, None)) is None:
            return False
        scope = self.in_scope(kept.scope)
        scope.entries -= 1
        scope.bytes -= kept.size
        scope.curated -= kept.curated
        return True


def scope_words(scope: Iterable[str]) -> str:
    """A scope as one text, as `Used` names it."""
    return " ".join(scope)


def expired_in(standing: Standing, now_ns: int) -> Iterator[Kept]:
    """Entries whose time is over."""
    return (kept for kept in list(standing.kept.values()) if kept.expired(now_ns))
