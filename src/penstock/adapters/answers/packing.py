"""Events and answers as bytes: a byte that names their form, and MessagePack."""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from penstock.ports.answer_store import AnswerStoreError, Entry, Event, Removal, Vouched
from penstock.ports.cache import CachedAnswer

FORM: Final = b"\x01"
"""anything else was written by another version"""
_LATEST_NS: Final = 2**63 - 1
_encode = msgspec.msgpack.Encoder().encode
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_decode_answer = msgspec.msgpack.Decoder(CachedAnswer).decode


class Packed(msgspec.Struct, frozen=True):
    """An event ready to be kept."""

    kind: Literal["entry", "vouched", "removal", "other"]
    entries: tuple[str, ...]
    """that the event is of, or takes away"""
    at_ns: int
    body: bytes
    digest: str
    """equal for equal bodies only"""
    answer: bytes | None = None


def packed(events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]]) -> list[Packed]:
    """Raises ValueError for an answer without its entry, and `AnswerStoreError` for what MessagePack cannot hold."""
    bodies = dict(answers)
    if strangers := bodies.keys() - {event.id for event in events if isinstance(event, Entry)}:
        raise ValueError(f"answers of no entry among the events: {', '.join(sorted(strangers))}")
    try:
        return [_packed(event, bodies) for event in events]
    except (UnicodeError, OverflowError, msgspec.MsgspecError) as problem:  # half an emoji, a number beyond 64 bits
        raise AnswerStoreError(f"an event cannot be written: {problem}", "leave it out: it will not do the next time either") from problem


def _packed(event: Event, bodies: dict[str, CachedAnswer]) -> Packed:
    body = FORM + _encode(event)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    match event:
        case Entry(id=id):
            return Packed("entry", (id,), instant(event.at_ns), body, digest, FORM + _encode(bodies[id]) if id in bodies else None)
        case Vouched(entry=entry):
            return Packed("vouched", (entry,), instant(event.at_ns), body, digest)
        case Removal(entries=entries):
            return Packed("removal", entries, instant(event.at_ns), body, digest)
    return Packed("other", (), instant(event.at_ns), body, digest)


def instant(at_ns: int) -> int:
    """As every store can hold and compare it."""
    return min(max(at_ns, 0), _LATEST_NS)


def event_of(body: bytes) -> Event | None:
    """None: it cannot be read."""
    if not body.startswith(FORM):
        return None
    try:
        return _events.decode(body[1:])
    except msgspec.DecodeError:
        return None


def answer_of(body: bytes) -> CachedAnswer | None:
    """None: it cannot be read."""
    if not body.startswith(FORM):
        return None
    try:
        return _decode_answer(body[1:])
    except msgspec.DecodeError:
        return None
