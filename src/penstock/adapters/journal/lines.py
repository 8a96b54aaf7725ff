"""One line of a journal segment, and the names of segments.

A line is eight hex digits (CRC-32 of the payload), one tag byte (`R` reservation, `U` usage record), the payload as
JSON and a newline. JSON never holds a raw newline, so a damaged line costs itself and no more.
"""

import re
from typing import TypeVar
from zlib import crc32

import msgspec

from penstock.domain.ledger.record import Reservation, UsageRecord

Kind = TypeVar("Kind", Reservation, UsageRecord)
SUFFIX = ".jsonl"
_PREFIX = 9
_FIELD = re.compile(r"`\$\.(\w+)")
_RESERVATION, _RECORD = ord("R"), ord("U")
_reservation_decoder = msgspec.json.Decoder(Reservation)
_record_decoder = msgspec.json.Decoder(UsageRecord)


def segment_name(writer: str, number: int) -> str:
    return f"{writer}.{number:06d}{SUFFIX}"


def parse_segment(name: str) -> tuple[str, int] | None:
    """`<writer>.<number>.jsonl` -> writer and number; None for files that are no segments."""
    writer, dot, number = name.removesuffix(SUFFIX).rpartition(".")
    if not name.endswith(SUFFIX) or not dot or not writer or writer.startswith(".") or not number.isdecimal():
        return None
    return writer, int(number)


def reservation_line(payload: bytes) -> bytes:
    return b"%08xR%b\n" % (crc32(payload), payload)


def record_line(payload: bytes) -> bytes:
    return b"%08xU%b\n" % (crc32(payload), payload)


def parse_line(line: bytes) -> Reservation | UsageRecord | None:
    """The entry of a line without its newline; None when the line is damaged."""
    payload = memoryview(line)[_PREFIX:]
    try:
        if int(line[:8], 16) != crc32(payload):
            return None
        tag = line[8]
    except (ValueError, IndexError):
        return None
    if tag == _RECORD:
        return _parse(_record_decoder, UsageRecord, payload)
    if tag == _RESERVATION:
        return _parse(_reservation_decoder, Reservation, payload)
    return None


def _parse(decoder: msgspec.json.Decoder[Kind], kind: type[Kind], payload: memoryview) -> Kind | None:
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        return _salvage(kind, payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _salvage(kind: type[Kind], payload: memoryview) -> Kind | None:
    """A whole line with a field of a wrong type loses that field, not the request; None when the field is a required one."""
    fields = msgspec.json.decode(payload)
    if not isinstance(fields, dict):
        return None
    for _ in range(len(fields)):
        try:
            return msgspec.convert(fields, kind)
        except msgspec.ValidationError as problem:
            culprit = _FIELD.search(str(problem))
            if culprit is None or fields.pop(culprit[1], None) is None:
                return None
    return None
