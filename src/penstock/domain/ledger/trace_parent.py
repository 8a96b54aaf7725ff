"""The caller's place in a distributed trace, as its `traceparent` header says it (W3C Trace Context, level 1 and 2)."""

import re

import msgspec

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class TraceParent(msgspec.Struct, frozen=True):
    """The span that called us. `sampled`: the caller records its trace."""

    trace_id: int
    span_id: int
    sampled: bool


def parse_traceparent(text: str) -> TraceParent | None:
    """None for what the standard tells receivers to ignore: other forms, ids of zeros, version ff."""
    found = _FORM.fullmatch(text)
    if found is None or (text.startswith("00-") and found[4]):
        return None
    return TraceParent(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED))


def kept_traceparent(header: bytes) -> str | None:
    """What the record keeps of the header: version 00, flags included; None when it says nothing."""
    text = header.decode("latin-1").strip()
    return f"00{text[2:55]}" if parse_traceparent(text) is not None else None
