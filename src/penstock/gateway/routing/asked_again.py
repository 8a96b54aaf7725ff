"""Who asks the same again soon after a cheap tier's answer, and wants it made anew, did not like it: a complaint about the tier.

`penstock-cache: no-cache` says so (a button "regenerate" sends it). The same question alone does not: programs repeat themselves, and
behind a key may be many who ask the same.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import msgspec
import orjson

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.saying import said_of
from penstock.gateway.exchange import Exchange

WITHIN_S: Final = 120.0
MOST: Final = 10_000
LONGEST: Final = 100_000
"""bytes of a request that is compared"""
_SAID: Final = ("messages", "input", "prompt", "system", "instructions", "tools")
"""what of a request is the conversation: another seed or temperature does not make it another one"""


class AskedAgain:
    """The last routed answers of a worker, by who got them and for which conversation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._answered: OrderedDict[bytes, tuple[float, Observation]] = OrderedDict()

    def complaint(self, x: Exchange) -> Observation | None:
        """What this request says of the answer before, where it asks for another one; it is told once."""
        if x.heads.cache != b"no-cache" or not self._answered or (key := _key(x)) is None:
            return None
        until, said = self._answered.pop(key, (0.0, None))
        return msgspec.structs.replace(said, at_ns=x.admitted_ns) if said is not None and until > self._clock() else None

    def note(self, x: Exchange, record: UsageRecord) -> None:
        """Remembers an answer of a tier below the route's last."""
        key = _key(x)
        if key is None or x.target is None:
            return
        said = said_of(record, 0.0, {each.label: each.edition for each in x.target.primaries}, record.admitted_ns)
        if said is None:
            return
        self._answered[key] = self._clock() + WITHIN_S, said
        self._answered.move_to_end(key)
        if len(self._answered) > MOST:
            self._answered.popitem(last=False)


def _key(x: Exchange) -> bytes | None:
    if x.body is None or len(x.request.body) > LONGEST:
        return None
    said = [x.body.get(name) for name in _SAID]
    try:
        asked = orjson.dumps((x.key_id, x.tags.get("user"), x.asked_for, x.endpoint, said), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # such as half of a surrogate pair
        return None
    return blake2b(asked, digest_size=16).digest()
