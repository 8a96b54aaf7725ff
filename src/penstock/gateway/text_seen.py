"""How much text a stream has brought, for those whose usage never comes: without parsing every event."""

from collections.abc import Iterator
from typing import Any, Final

from penstock.domain.dialects.sse import chunk_of

_PARSED: Final = 2
"""events whose frame is measured; the second has no role in it"""


class TextSeen:
    """Adds up what events of one stream bring: `events`, and nearly the `bytes` of text in them.

    The frame around a text is all but the same on each event, so it is measured on the first ones, and taken off the others. Escapes
    count a little more than they are, larger frames as text.
    """

    __slots__ = ("_frame", "bytes", "events")

    def __init__(self) -> None:
        self.events = self.bytes = self._frame = 0

    def add(self, event: bytes) -> None:
        """One event that adds to the answer."""
        self.events += 1
        if self.events > _PARSED:
            self.bytes += max(0, len(event) - self._frame)
            return
        text = sum(len(each.encode("utf-8", "replace")) for each in _texts(chunk_of(event)))
        self.bytes += text
        self._frame = len(event) - text


def _texts(chunk: dict[str, Any] | None) -> Iterator[str]:
    """The texts of a chunk, in whichever dialect."""
    choices = (chunk or {}).get("choices")
    for holder in choices if isinstance(choices, list) else (chunk,):
        if isinstance(holder, dict):
            yield from (value for value in (holder.get("text"), holder.get("delta")) if isinstance(value, str))
            if isinstance(delta := holder.get("delta"), dict):
                yield from (value for key, value in delta.items() if isinstance(value, str) and key not in ("role", "type"))
