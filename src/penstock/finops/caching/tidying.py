"""The chores of the semantic cache: its log followed, what is over or promises least taken out, what was learned kept."""

from collections.abc import Callable

from penstock.config.caching import SemanticCache
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.keeping import going, removals
from penstock.finops.caching.standing import expired_in
from penstock.finops.metrics import Gauges
from penstock.ports.answer_store import AnswerStoreError
from penstock.ports.metrics import SEMANTIC_BYTES, SEMANTIC_ENTRIES, SEMANTIC_REMOVED
from penstock.ports.usage_store import StoreError

NS = 10**9
ROOM = 0.9
"""share of `max_bytes` that is left when something had to go, so that not every new entry makes another one go"""
KEEP_S = 300.0
"""between two states that are kept"""
OLD_S = 24 * 3600.0
"""age from which events other than entries are forgotten: a worker that was away for less has missed none"""
FOLLOWED_AT_ONCE = 20_000


class Following:
    """Reads the log on, a bounded piece at a time. Every host does, for its gauges."""

    def __init__(self, log: AnswerLog, then: Callable[[], None]) -> None:
        """`then` is called after every step, in its thread."""
        self._log, self._then = log, then
        self._entries: tuple[tuple[tuple[str, ...], float], ...] = ()
        self._removed: tuple[tuple[tuple[str, ...], float], ...] = ()

    def step(self, now_ns: int) -> int:
        """How much was read where more is left; 0 at the end of the log. Raises `StoreError`."""
        try:
            read = self._log.follow(FOLLOWED_AT_ONCE)
        except AnswerStoreError as problem:
            raise StoreError(f"the answers of the cache: {problem}", problem.hint) from problem
        self._then()
        standing = self._log.standing
        self._entries = tuple(((name,), float(scope.entries)) for name, scope in list(standing.scopes.items()))
        self._removed = tuple(((reason,), float(count)) for reason, count in standing.removed.items())
        return read if read >= FOLLOWED_AT_ONCE else 0

    def gauges(self) -> Gauges:
        """As of the last step; nothing before the first."""
        if not self._entries:
            return {}
        size = [((), float(self._log.size[1]))]
        return {SEMANTIC_ENTRIES.name: self._entries, SEMANTIC_BYTES.name: size, SEMANTIC_REMOVED.name: self._removed}


class Tidying:
    """Keeps the store within its bounds. One host does, where hosts share it."""

    def __init__(self, log: AnswerLog, settings: SemanticCache) -> None:
        self._log, self._settings = log, settings
        self._kept_to = self._kept_ns = 0

    def step(self, now_ns: int) -> int:
        """How many entries went. Raises `StoreError`."""
        try:
            self._log.follow(FOLLOWED_AT_ONCE)
            gone = self._take_out(now_ns)
            if self._log.standing.place != self._kept_to and abs(now_ns - self._kept_ns) >= KEEP_S * NS:
                self._log.keep()
                self._log.trim(now_ns - int(OLD_S * NS))
                self._kept_to, self._kept_ns = self._log.standing.place, now_ns
        except AnswerStoreError as problem:
            raise StoreError(f"the answers of the cache cannot be tidied: {problem}", problem.hint) from problem
        return gone

    def _take_out(self, now_ns: int) -> int:
        standing, most = self._log.standing, self._settings.max_bytes
        expired = {kept.id: kept.size for kept in expired_in(standing, now_ns)}
        used = standing.total_bytes() - sum(expired.values())
        excess = used - int(most * ROOM) if used > most else 0
        left = (kept for kept in list(standing.kept.values()) if kept.id not in expired)
        evicted = [kept.id for kept in going(left, excess, now_ns, self._settings.ttl)]
        events = [*removals(expired, "expired", now_ns), *removals(evicted, "evicted", now_ns)]
        if events:
            self._log.append(events)
            self._log.follow()
        return len(expired) + len(evicted)
