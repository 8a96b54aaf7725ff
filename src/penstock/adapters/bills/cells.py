"""Cells as people and programs write them -> text, exact decimals, instants in UTC, JSON; and what had to be mended for that."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

NULL_WORDS = frozenset({"null", "<null>", "\\n", "n/a", "#n/a", "nan", "nat"})
LONGEST_NULL = 6
NULL_AS_TEXT = "null written as a word"
REMEMBERED = 4_096
"""cells that one column remembers; repeated ones are read once"""
LONGEST_NUMBER = 80

_DECORATED = re.compile(r"[\s\u00a0\u202f'$€£¥₹]|(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])")
_POINT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?(E[+-]?\d+)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?(E[+-]?\d+)?", re.IGNORECASE)
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?(E-?[0-9])?").fullmatch
_NUMERIC_DATE = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4}|\d{2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?(?:\.0+)?\s*(?:AM|Z|UTC)?")
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Read = tuple[Any, str | None]
"""a value, and what was mended to have it"""


class CellError(ValueError):
    """A cell without which its row cannot be read; the message begins with the column's name."""


class Style(msgspec.Struct, frozen=True):
    """How one file writes numbers and dates, as its first rows show."""

    decimal_comma: bool = False
    day_first: bool = False
    plain_dates: bool = False
    """dates in the form of the format itself (`9/2/2023`, no zone) are no fault of the file"""


class Column(dict[Any, Any]):
    """Cells of one column -> values. `mended` says of every remembered cell what was wrong with it."""

    def __init__(self, name: str, read: Callable[[Any], Read], *, needed: bool = False) -> None:
        super().__init__()
        self.name = name
        self.mended: dict[Any, str] = {}
        self.on_first_mend: Callable[[], None] = lambda: None
        self._clean = True
        self._read, self._needed = read, needed

    def __missing__(self, cell: Any) -> Any:
        try:
            value, mended = self._read(cell)
        except CellError as fault:
            if self._needed:
                raise CellError(f"{self.name} {fault}: `{str(cell)[:40]}`") from None
            value, mended = None, f"{fault}, taken as unknown"
        if mended is not None:
            self._remember_mend(cell, mended)
        if len(self) < REMEMBERED:
            self[cell] = value
        return value

    def _remember_mend(self, cell: Any, mended: str) -> None:
        if len(self.mended) >= REMEMBERED:
            self.clear()
            self.mended.clear()
        self.mended[cell] = mended
        if self._clean:
            self._clean = False
            self.on_first_mend()


class TextColumn(Column):
    """A column of texts, which are mostly as they should be."""

    def __missing__(self, cell: Any) -> Any:
        if cell.__class__ is str and len(cell) > LONGEST_NULL and cell[0] > " " < cell[-1] < "\x7f":
            if len(self) < REMEMBERED:
                self[cell] = cell
            return cell
        return super().__missing__(cell)


class NumberColumn(Column):
    """A column of numbers with a decimal point. See `PlainNumbers`."""


class NotPlain(Exception):
    """A number that has to be looked at."""


class PlainNumbers(dict[str, Decimal | None]):
    """Numbers as programs write them, over all columns of a row: amounts of one row often say the same. Raises `NotPlain` for others."""

    def __init__(self) -> None:
        super().__init__({"": None})

    def __missing__(self, cell: str) -> Decimal | None:
        if cell.__class__ is not str or not _PLAIN_NUMBER(cell):
            raise NotPlain
        if len(self) >= REMEMBERED:
            self.clear()
            self[""] = None
        value = self[cell] = Decimal(cell)
        return value


def read_text(cell: Any) -> Read:
    """Text without blanks around it; None for nothing and for words that mean nothing."""
    if not isinstance(cell, str):
        return (None, None) if cell is None else (str(cell), None)
    text = cell.strip()
    if len(text) > LONGEST_NULL:
        return text, None
    if not text:
        return None, None
    return (None, NULL_AS_TEXT) if text.lower() in NULL_WORDS else (text, None)


def read_currency(cell: Any) -> Read:
    """The code of a currency, which has capital letters (ISO 4217): `usd` is no other one than `USD`."""
    text, mended = read_text(cell)
    if text is None or text == text.upper():
        return text, mended
    return text.upper(), "a currency in small letters"


def chosen_from(allowed: tuple[str, ...]) -> Callable[[Any], Read]:
    """Texts that may take few values: their case and blanks are mended, others are kept as they are."""
    known = {_plain(value): value for value in allowed}

    def read(cell: Any) -> Read:
        text, mended = read_text(cell)
        if text is None or text in allowed:
            return text, mended
        right = known.get(_plain(text))
        return (text, "a value that FOCUS does not list, kept") if right is None else (right, "spelling of a listed value")

    return read


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()


def column(name: str, kind: str, read: Callable[[Any], Read], style: Style, *, needed: bool = False) -> Column:
    """A column that reads its cells as `kind`."""
    if kind == "decimal" and not style.decimal_comma:
        return NumberColumn(name, read, needed=needed)
    return (TextColumn if read is read_text else Column)(name, read, needed=needed)


def decimals(style: Style) -> Callable[[Any], Read]:
    """Numbers, exact: with thousands separators, currency signs, brackets for minus, a decimal comma."""

    def read(cell: Any) -> Read:
        if not isinstance(cell, str):
            return _number(cell)
        if len(cell) > LONGEST_NUMBER:
            raise CellError("is too long for a number")
        if not style.decimal_comma:
            try:
                value = Decimal(cell)
                if value.is_finite() and "_" not in cell:
                    return _bounded(value), None
            except InvalidOperation:
                pass
        text, mended = read_text(cell)
        return (None, mended) if text is None else _written_number(text, style)

    return read


def _number(cell: Any) -> Read:
    """A typed cell of Parquet or JSON. A binary float is read as the shortest decimal that stands for it."""
    match cell:
        case None:
            return None, None
        case Decimal():
            return _bounded(cell), None
        case bool():
            raise CellError("is no number")
        case int() | float():
            value = Decimal(repr(cell))
            return (_bounded(value), None) if value.is_finite() else (None, NULL_AS_TEXT)
        case _:
            raise CellError("is no number")


def _written_number(text: str, style: Style) -> Read:
    bare, reason = _DECORATED.sub("", text), None
    if bare != text:
        reason = "a number with blanks or a currency sign"
    if bare.startswith("(") and bare.endswith(")"):
        bare, reason = f"-{bare[1:-1]}", "a number in brackets, read as negative"
    elif bare.endswith("-"):
        bare, reason = f"-{bare[:-1]}", "a number with its minus at the end"
    if bare in ("-", "+", ""):
        raise CellError("is no number")
    comma = style.decimal_comma or ("," in bare and not _POINT.fullmatch(bare))
    if (comma and not _COMMA.fullmatch(bare)) or (not comma and not _POINT.fullmatch(bare)):
        raise CellError("is no number")
    if comma:
        bare, reason = bare.replace(".", "").replace(",", "."), "a number with a decimal comma" if "," in bare else reason
    elif "," in bare:
        bare, reason = bare.replace(",", ""), "a number with thousands separators"
    try:
        return _bounded(Decimal(bare)), reason
    except InvalidOperation:
        raise CellError("is no number") from None


def _bounded(value: Decimal) -> Decimal:
    if value and not -100 < value.adjusted() < 40:
        raise CellError("is a number beyond all bounds")
    return value


def times(style: Style) -> Callable[[Any], Read]:
    """Instants: ISO 8601, with or without T and zone, `MM/DD/YYYY` or `DD/MM/YYYY` as the file has them, `20260901`. No zone is UTC."""

    def read(cell: Any) -> Read:
        match cell:
            case datetime():
                return (cell.replace(tzinfo=UTC) if cell.tzinfo is None else cell.astimezone(UTC)), None
            case date():
                return datetime(cell.year, cell.month, cell.day, tzinfo=UTC), None
            case None:
                return None, None
            case str() if _ISO.fullmatch(cell):
                return _parsed(cell), None
        text, mended = read_text(cell)
        if text is None:
            return None, mended
        if match := _NUMERIC_DATE.fullmatch(text):
            return _numeric(match, style), None if style.plain_dates else f"dates as {'DD/MM' if style.day_first else 'MM/DD'}/YYYY"
        if match := _COMPACT_DATE.fullmatch(text):
            return _moment(int(match[1]), int(match[2]), int(match[3])), None if style.plain_dates else "dates as YYYYMMDD"
        moment = _parsed(text.removesuffix(" UTC"))
        full = style.plain_dates or ("T" in text and moment.tzinfo is not None)
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return aware, None if full else "a date or time without T or zone, read as UTC"

    return read


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise CellError("is no date or time") from None


def _numeric(match: re.Match[str], style: Style) -> datetime:
    first, second, year = int(match[1]), int(match[2]), int(match[3])
    day, month = (first, second) if style.day_first else (second, first)
    if month > 12 >= day:
        raise CellError("has day and month in another order than the dates before")
    year += 2000 if year < 100 else 0
    return _moment(year, month, day, int(match[4] or 0), int(match[5] or 0), int(match[6] or 0))


def _moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise CellError("is no date or time") from None


def read_json(cell: Any) -> Read:
    """A JSON object; also Azure's, which lacks its braces, and `key:value;key:value`."""
    text, mended = read_text(cell)
    if text is None:
        return None, mended
    try:
        return _object(json.loads(text, parse_float=Decimal)), None
    except ValueError:
        pass
    try:
        return _object(json.loads(f"{{{text}}}", parse_float=Decimal)), None
    except ValueError:
        pass
    pairs = [part.partition(":") for part in re.split(r"[;,]", text.strip("{}")) if part.strip()]
    if pairs and all(colon and key.strip(" \"'") for key, colon, _ in pairs):
        return {key.strip(" \"'"): value.strip(" \"'") for key, _, value in pairs}, "tags that are no JSON, read as key:value"
    raise CellError("tags that cannot be read")


def _object(value: Any) -> Any:
    """Pairs as maps come out of Parquet (`[["k", "v"]]`, `[{"key": ..., "value": ...}]`) become an object."""
    if isinstance(value, list):
        if all(isinstance(each, list) and len(each) == 2 for each in value):
            return {str(key): each for key, each in value}
        if all(isinstance(each, dict) and "key" in each for each in value):
            return {str(each["key"]): each.get("value") for each in value}
    if isinstance(value, dict | list):
        return value
    raise ValueError("no object")
