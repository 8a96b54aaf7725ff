"""Which tier a conversation was last answered by, so that it may stay there for its prompt cache: it only goes up.

Every worker remembers what it answered itself; a conversation whose turns reach several workers is known to each by its own turns.
"""

import time
from collections import OrderedDict
from hashlib import blake2b
from typing import Any, Final

from penstock.domain.dialects.content import text_of
from penstock.domain.ledger.record import UsageRecord
from penstock.gateway.exchange import Exchange

MOST: Final = 10_000
"""conversations that a worker remembers"""
_ROLES_OF_SYSTEM: Final = ("system", "developer")


class Sessions:
    """The conversations of this worker; of too many, the one that was silent longest is forgotten."""

    __slots__ = ("_most", "_tiers")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tiers: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """conversation -> tier, and until when (monotonic seconds)"""

    def floor(self, conversation: str) -> str | None:
        """The tier that a conversation stays with at least; None: it is new, or was silent for too long."""
        tier, until = self._tiers.get(conversation, (None, 0.0))
        return tier if until > time.monotonic() else None

    def note(self, x: Exchange, record: UsageRecord) -> None:
        """Remembers the tier that has answered a request, if its route keeps to it. An answer of the cache warms nobody's prompt cache."""
        if x.conversation is None or x.hit is not None or record.outcome != "ok" or x.target is None or x.target.route is None:
            return
        ladder, sticky = x.target.route.tiers, x.target.route.sticky
        if sticky is None or record.tier not in ladder:
            return
        before = self.floor(x.conversation)
        kept = max((tier for tier in (before, record.tier) if tier in ladder), key=ladder.index)
        self._tiers[x.conversation] = (kept, time.monotonic() + sticky)
        self._tiers.move_to_end(x.conversation)
        if len(self._tiers) > self._most:
            self._tiers.popitem(last=False)


def conversation_of(x: Exchange, body: dict[str, Any], route: str) -> tuple[str, bool]:
    """A digest that is the same for all turns of a conversation: by the client's own name for it, else by how it began; and whether it
    goes on with this request. One that only begins in the same words as another is another one.

    The key and the tenant are part of it: nobody can name himself into another one's.
    """
    named = x.heads.session.decode("latin-1") or body.get("prompt_cache_key")
    if isinstance(named, str) and named:
        return _digest(route, x.key_id, x.tenant, "named", named), True
    system, first, goes_on = _beginning(body)
    return _digest(route, x.key_id, x.tenant, "begun", x.tags.get("team"), x.tags.get("feature"), system, first), goes_on


def _digest(*parts: str | None) -> str:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _beginning(body: dict[str, Any]) -> tuple[str, str, bool]:
    """The system prompt, what the user said first, and whether it has been answered before."""
    system = text_of(body.get("system") or body.get("instructions"))
    turns = body.get("messages") or body.get("input") or body.get("prompt")
    if not isinstance(turns, list):
        return system, turns if isinstance(turns, str) else "", False
    said = [turn for turn in turns if isinstance(turn, dict)]
    system += "".join(text_of(turn.get("content")) for turn in said if turn.get("role") in _ROLES_OF_SYSTEM)
    first = next((text_of(turn.get("content")) for turn in said if turn.get("role") == "user"), "")
    return system, first, any(turn.get("role") == "assistant" for turn in said)
