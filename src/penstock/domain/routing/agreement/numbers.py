"""Numbers as answers write them: signs, money, thousands, powers of ten, fractions, percent, units and LaTeX."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import msgspec

_LONGEST = 120
"""characters of what may be one number with its unit"""
_QUESTION = 4_000
"""characters of a question that are looked at for units"""
_SPACES = "\u00a0\u2009\u202f"
"""thin and unbreakable ones, that separate thousands"""
_PLAIN = rf"(?:\d{{1,3}}(?:[,_'{_SPACES}]\d{{3}})+(?!\d)|\d{{1,60}})(?:\.\d{{0,60}})?|\.\d{{1,60}}"
_POWER = r"(?:[eE]([+-]?\d{1,3})|\s*[*\u00d7x]\s*10(?:\^|\*\*)\s*\(?([+-]?\d{1,3})\)?)?"
_NUMBER = re.compile(
    rf"(?P<sign>[-+\u2212]?)\s*(?P<money>[$\u20ac\u00a3\u00a5\u20b9]?)\s*(?P<inner>[-\u2212]?)"
    rf"(?:(?P<whole>\d{{1,12}}) (?=\d+\s*/))?(?P<number>{_PLAIN})(?:{_POWER})"
    r"(?:\s*/\s*(?P<under>[-\u2212]?\d{1,40}(?:\.\d{1,40})?)(?![\d/]))?"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_HEDGE = re.compile(r"(?:approximately|approx\.?|about|around|roughly|exactly|just|only|a total of|~|\u2248|\u2243|=)\s*", re.IGNORECASE)
_ASSIGNED = re.compile(r"[A-Za-z]\s*=\s*(?=[^=])")
_SCALE: Final[Mapping[str, int]] = {
    "k": 3, "thousand": 3, "mn": 6, "mio": 6, "million": 6, "millions": 6, "bn": 9, "billion": 9, "billions": 9, "trillion": 12,
}  # fmt: skip
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_MONEY = "$\u20ac\u00a3\u00a5\u20b9"
_UNIT = re.compile(rf"[^\W\d_](?:[^\W\d_]|[ ./\u00b7*^-]|(?<=[\^-])\d|[\u00b2\u00b3]){{0,60}}|%|\u00b0\s?[CFK]?|[{_MONEY}]")
_UNIT_WORDS = 5
_UNIT_NAMES: Final[Mapping[str, str]] = {
    "$": "usd", "dollar": "usd", "us dollar": "usd", "usd": "usd", "\u20ac": "eur", "euro": "eur", "eur": "eur", "\u00a3": "gbp",
    "pound sterling": "gbp", "gbp": "gbp", "\u00a5": "jpy", "yen": "jpy", "\u20b9": "inr", "rupee": "inr", "cent": "cent",
    "%": "%", "percent": "%", "per cent": "%", "percentage point": "%", "pct": "%",
    "\u00b0": "degree", "degree": "degree", "deg": "degree", "\u00b0c": "celsius", "degree celsius": "celsius", "\u00b0f": "fahrenheit",
    "degree fahrenheit": "fahrenheit", "radian": "radian", "rad": "radian",
    "ms": "millisecond", "millisecond": "millisecond", "s": "second", "sec": "second", "second": "second", "min": "minute",
    "minute": "minute",
    "h": "hour", "hr": "hour", "hour": "hour", "day": "day", "week": "week", "month": "month", "year": "year",
    "mm": "millimetre", "millimeter": "millimetre", "millimetre": "millimetre", "cm": "centimetre", "centimeter": "centimetre",
    "centimetre": "centimetre", "m": "metre", "meter": "metre", "metre": "metre", "km": "kilometre", "kilometer": "kilometre",
    "kilometre": "kilometre", "in": "inch", "inch": "inch", "inches": "inch", "ft": "foot", "foot": "foot", "feet": "foot", "yd": "yard",
    "yard": "yard", "mi": "mile", "mile": "mile",
    "mg": "milligram", "milligram": "milligram", "g": "gram", "gram": "gram", "kg": "kilogram", "kilogram": "kilogram", "kilo": "kilogram",
    "lb": "pound", "pound": "pound", "oz": "ounce", "ounce": "ounce", "ton": "ton", "tonne": "ton",
    "ml": "millilitre", "milliliter": "millilitre", "millilitre": "millilitre", "l": "litre", "liter": "litre", "litre": "litre",
    "gal": "gallon", "gallon": "gallon", "cup": "cup", "pint": "pint", "quart": "quart",
    "mph": "mile per hour", "mile per hour": "mile per hour", "miles per hour": "mile per hour", "km/h": "kilometre per hour",
    "kph": "kilometre per hour", "kilometer per hour": "kilometre per hour", "kilometers per hour": "kilometre per hour",
    "m/s": "metre per second", "meter per second": "metre per second", "meters per second": "metre per second",
}  # fmt: skip
_KINDS = (
    frozenset({"usd", "eur", "gbp", "jpy", "inr", "cent"}),
    frozenset({"degree", "radian"}),
    frozenset({"celsius", "fahrenheit"}),
    frozenset({"millisecond", "second", "minute", "hour", "day", "week", "month", "year"}),
    frozenset({"millimetre", "centimetre", "metre", "kilometre", "inch", "foot", "yard", "mile"}),
    frozenset({"milligram", "gram", "kilogram", "pound", "ounce", "ton"}),
    frozenset({"millilitre", "litre", "gallon", "cup", "pint", "quart"}),
    frozenset({"mile per hour", "kilometre per hour", "metre per second"}),
)
"""units of one kind, of which a question may name several"""
_WORD = re.compile(r"[^\W\d_]+|[%$\u20ac\u00a3\u00a5\u20b9\u00b0]")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*([ap])\.?\s?m\b\.?", re.IGNORECASE)


class Number(msgspec.Struct, frozen=True):
    """A value and what it counts, in one name where units have several; None: it says nothing of that."""

    value: Fraction
    unit: str | None = None

    @property
    def key(self) -> str:
        return str(self.value)


def number_of(text: str) -> Number | None:
    """The number that a text is, with nothing around it but its unit; None where it is anything else. LaTeX is to be taken off before."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    hedged = _HEDGE.match(text) or _ASSIGNED.match(text)
    if hedged is not None:
        text = text[hedged.end() :]
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    value = _value(found)
    rest = found["rest"]
    if value is None or rest[:1].isdigit():
        return None
    return _with_unit(value, found["money"], rest)


def implied(unit: str, question: str) -> bool:
    """Whether a question says itself what it wants to be counted in, so that an answer may leave it out: it names the unit, and no other
    one of its kind."""
    asked = _units_in(question)
    if unit not in asked:
        return unit not in _UNIT_NAMES.values() and bool(set(unit.split()) & asked)
    kinds = [kind for kind in _KINDS if unit in kind]
    return all(not (kind & asked) - {unit} for kind in kinds)


def clock_of(text: str) -> str | None:
    """A time of day, as `2:00 pm`; None where a text is anything else."""
    found = _CLOCK.fullmatch(text.strip())
    return None if found is None else f"{int(found[1])}:{found[2] or '00'} {found[3].lower()}m"


def _value(found: re.Match[str]) -> Fraction | None:
    digits = re.sub(rf"[,_'{_SPACES}]", "", found["number"])
    power = found[6] or found[7]
    whole, under = found["whole"], found["under"]
    if whole is not None and under is None:
        return None
    value = Fraction(digits.rstrip(".") if digits != "." else "0") * Fraction(10) ** int(power or 0)
    if under is not None:
        divisor = Fraction(under.replace("\u2212", "-"))
        if divisor == 0:
            return None
        value /= divisor
    value += int(whole or 0)
    negative = (found["sign"] in ("-", "\u2212")) != bool(found["inner"])
    return -value if negative else value


def _with_unit(value: Fraction, money: str, rest: str) -> Number | None:
    """The number with what follows it: an ordinal's ending, a scale, a unit; None where that is none of these."""
    ordinal = _ORDINAL.match(rest)
    if ordinal is not None and value.denominator == 1:
        rest = rest[ordinal.end() :]
    apart = rest[:1].isspace() or rest[:1] == "-"
    rest = rest.strip().rstrip(".!").strip()
    head, _, tail = rest.partition(" ")
    if (scale := _SCALE.get(head.lower())) is not None or (head == "M" and money):
        value *= 10 ** (6 if scale is None else scale)
        rest = tail.strip()
    unit = _UNIT_NAMES[money] if money else None
    if not rest:
        return Number(value, unit)
    if _UNIT.fullmatch(rest) is None or len(rest.split()) > _UNIT_WORDS:
        return None
    name = unit_name(rest)
    return Number(value, unit or name) if apart or name in _UNIT_NAMES.values() else None


def unit_name(text: str) -> str:
    """One name for the ways of writing a unit: `kg`, `kilograms`; what is unknown stays, without the `s` of the plural."""
    name = " ".join(text.lower().split()).strip(".")
    for form in (name, name.removesuffix("s"), " ".join(word.removesuffix("s") for word in name.split())):
        if form in _UNIT_NAMES:
            return _UNIT_NAMES[form]
    return " ".join(word.removesuffix("s") for word in name.split())


def _units_in(question: str) -> set[str]:
    words = [word.lower() for word in _WORD.findall(question[:_QUESTION])]
    singles = {unit_name(word) for word in words if len(word) > 1 or not word.isalpha()} - {
        "inch" if "inch" not in words and "inches" not in words else ""
    }
    return singles | {unit_name(" ".join(three)) for three in zip(words, words[1:], words[2:], strict=False)}
