"""The usage record as a row: one typed column per field, token counts spread out, tags and other collections as JSON."""

from collections.abc import Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord

Kind = Literal["text", "int", "real", "bool", "json"]
Row = tuple[Any, ...]

MOST_INT = 2**63 - 1
MOST_TOKENS = 2**53
"""beyond this a token count is no count; five of them still add up within 64 bits"""

_KINDS: dict[object, Kind] = {int: "int", int | None: "int", float | None: "real", bool: "bool", str: "text", str | None: "text"}
_SPREAD = {"tokens", "recalled"}
_FIELDS = msgspec.structs.fields(UsageRecord)


def _kind(annotation: object) -> Kind:
    told = [each for each in get_args(annotation) if each is not NoneType]
    words = len(told) == 1 and get_origin(told[0]) is Literal
    return "text" if words or get_origin(annotation) is Literal else _KINDS.get(annotation, "json")


_PLAIN = tuple((field.name, _kind(field.type)) for field in _FIELDS if field.name not in _SPREAD and _kind(field.type) != "json")
_JSON = {field.name: field.type for field in _FIELDS if field.name not in _SPREAD and _kind(field.type) == "json"}
_COUNTS = tuple(f"{group}_{name}" for group in ("tokens", "recalled") for name in Tokens.__struct_fields__)

COLUMNS: tuple[tuple[str, Kind], ...] = (*_PLAIN, *((name, "json") for name in _JSON), *((name, "int") for name in _COUNTS))
NAMES = tuple(name for name, _ in COLUMNS)
_UNKNOWN_SAID = {"wasted_cost"}
_UNKNOWN_BESIDE = {"embedding_cost": "cache_decision"}
"""unknown where NULL only if the other column tells that there was something to know: records of before have both NULL"""
REQUIRED = frozenset(field.name for field in _FIELDS if field.required)

_plain_of = attrgetter(*(name for name, _ in _PLAIN))
_told_by_others = attrgetter("endpoint", "requested_model", "response_model", "response_id", "finish_reason", "error", "processing")
_encode = msgspec.json.Encoder().encode
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in _JSON.items()}
_NUL = "\\u0000"
_astuple = msgspec.structs.astuple


def row_of(record: UsageRecord) -> Row:
    """The values of `NAMES`. Counts beyond `MOST_TOKENS` are cut there, NUL in what clients and upstreams say becomes U+FFFD."""
    if "\0" in "".join(filter(None, _told_by_others(record))):
        return row_of(storable(record))
    tags, attempts = record.tags, record.attempts
    texts = (
        _encode(tags).decode() if tags else "{}",
        _encode(attempts).decode() if attempts else "[]",
        _encode(record.parts).decode() if record.parts else None,
        _encode(record.wasted_work).decode() if record.wasted_work else None,
        None if record.cache_decision is None else _encode(record.cache_decision).decode(),
        None if record.route_decision is None else _encode(record.route_decision).decode(),
        None if record.observed is None else _encode(record.observed).decode(),
    )
    if any(_NUL in text for text in texts if text is not None):
        clean = storable(record)
        if any(getattr(clean, name) != getattr(record, name) for name in _JSON):
            return row_of(clean)
    counts = _astuple(record.tokens) + _astuple(record.recalled)
    if max(counts) > MOST_TOKENS:
        counts = tuple(min(count, MOST_TOKENS) for count in counts)
    return (*_plain_of(record), *texts, *counts)


def record_of(row: Sequence[Any]) -> UsageRecord:
    """The record of a row in the order of `NAMES`. A column that is NULL leaves its field at the default, unless None is a value
    of its own there: the column stood in the first schema, so no row has it NULL for want of it.
    """
    given: dict[str, Any] = {}
    plain = len(_PLAIN)
    for (name, kind), value in zip(_PLAIN, row, strict=False):
        if value is not None:
            given[name] = bool(value) if kind == "bool" else value
        elif name in _UNKNOWN_SAID:
            given[name] = None
    for (name, decoder), value in zip(_decoders.items(), row[plain:], strict=False):
        if value is not None:
            given[name] = decoder.decode(value)
    for name, other in _UNKNOWN_BESIDE.items():
        if other in given and name not in given:
            given[name] = None
    counts = [value or 0 for value in row[plain + len(_JSON) :]]
    return UsageRecord(tokens=Tokens(*counts[:5]), recalled=Tokens(*counts[5:]), **given)


def storable(record: UsageRecord) -> UsageRecord:
    """The nearest record that every database takes: no NUL in text, no integer beyond 64 bits (money: unknown instead)."""
    fields = _without_nul(msgspec.to_builtins(record))
    for name, kind in _PLAIN:
        if kind == "int" and not -MOST_INT <= (fields.get(name) or 0) <= MOST_INT:
            if name in REQUIRED:
                fields[name] = MOST_INT
            else:
                del fields[name]
    if record.cost is not None and fields.get("cost") is None:
        fields["cost_basis"] = "unknown"
    return msgspec.convert(fields, UsageRecord)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    return value
