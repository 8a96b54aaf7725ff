"""Traffic to be made for those who have no trace: its pace, its lengths and its conversations, by words such as `rps=2,input=800`."""

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

import msgspec

from penstock.domain.simulation.trace import TraceError
from penstock.domain.units import Duration, UnitError

MOST_REQUESTS: Final = 20_000_000
_P95: Final = 1.6448536269514722
"""standard deviations to the 95th percentile"""
HEAVIEST: Final = math.exp(_P95 * _P95 / 2)
"""a lognormal's 95th percentile is at most so many times its mean"""


class Lengths(msgspec.Struct, frozen=True):
    """Tokens: all the same, or lognormal with this mean and 95th percentile."""

    mean: float
    p95: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.mean <= 10**8:
            raise TraceError(f"a mean of {self.mean:g} tokens is not possible", "write 1 or more, such as `input=800`")
        if self.p95 is not None and not 1 < self.p95 / self.mean < HEAVIEST:
            most = f"between {self.mean:g} and {self.mean * HEAVIEST:.0f}"
            raise TraceError(
                f"no lognormal has a mean of {self.mean:g} tokens and {self.p95:g} at the 95th percentile", f"write a percentile {most}"
            )

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm: s with s^2 / 2 - 1.645 s + ln(p95 / mean) = 0."""
        return 0.0 if self.p95 is None else _P95 - math.sqrt(_P95 * _P95 - 2 * math.log(self.p95 / self.mean))


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that `synthetic` makes."""

    duration_s: float
    rps: float = 1.0
    """requests a second, the mean over a day"""
    swing: float = 0.0
    """daily cycle: the rate is rps (1 + swing cos(2 pi (hour - peak_hour) / 24)), 0 to 1; the trace begins at midnight"""
    peak_hour: float = 14.0
    steps: tuple[tuple[float, float], ...] = ()
    """(second, rate from then on) instead of `rps` and `swing`; nothing comes before the first"""
    cv: float = 1.0
    """of the gaps: 1 is a Poisson process, 0 a clock, more is burstier (Gamma)"""
    input: Lengths = Lengths(800.0, 2400.0)
    """what a request adds to its conversation: all of its prompt without conversations"""
    output: Lengths = Lengths(200.0, 600.0)
    turns: float = 1.0
    """mean requests of a conversation (geometric): each sends all that was said before"""
    think_s: float = 30.0
    """mean seconds between two requests of a conversation (exponential)"""
    system_tokens: int = 0
    """that all prompts begin with"""
    most_context: int = 131_072
    """tokens of prompt and answer at which a conversation ends"""
    block_tokens: int = 128
    """of a prefix block"""

    def __post_init__(self) -> None:
        _within("hours", self.duration_s, 0, 10 * 366 * 86_400, above=True)
        _within("rps", self.rps, 0, 10**7)
        _within("swing", self.swing, 0, 1)
        _within("cv", self.cv, 0, 100)
        _within("turns", self.turns, 1, 1000)
        _within("think", self.think_s, 0, 30 * 86_400)
        _within("system", self.system_tokens, 0, 10**7)
        if any(rps < 0 for _, rps in self.steps) or any(after[0] <= before[0] for before, after in pairwise(self.steps)):
            raise TraceError("the steps of the rate go backwards, or below 0", "write them by time: `steps=0h:2;1h:10;2h:0`")
        if self.requests > MOST_REQUESTS:
            raise TraceError(
                f"{self.requests:,.0f} requests are more than {MOST_REQUESTS:,}", "make it shorter: a day or a week tells the same"
            )

    @property
    def requests(self) -> float:
        """How many are expected."""
        if not self.steps:
            return self.rps * self.duration_s
        ends = [at for at, _ in self.steps[1:]] + [self.duration_s]
        return sum(rps * max(0.0, min(end, self.duration_s) - at) for (at, rps), end in zip(self.steps, ends, strict=True))


def parse_traffic(text: str) -> Traffic:
    """`rps=2,input=800,output=200,hours=6` and the like. Raises `TraceError`.

    Keys: `hours` or `duration` (`90m`), `rps`, `swing`, `peak_hour`, `steps` (`0h:2;1h:10`), `cv`, `input`, `output` (mean, or mean:p95),
    `turns`, `think`, `system`, `most_context`.
    """
    given = pairs_of(text, tuple(_READERS), "rps=2,input=800:2400,output=200,hours=6")
    fields = dict(_READERS[name](name, value) for name, value in given.items())
    if "duration_s" not in fields:
        raise TraceError("how long the traffic lasts is not said", "add `hours=6` or `duration=90m`")
    return msgspec.structs.replace(Traffic(duration_s=fields["duration_s"]), **fields)


def pairs_of(text: str, names: tuple[str, ...], example: str) -> dict[str, str]:
    """`a=1,b=2` as a mapping; of these names, each once. Raises `TraceError`."""
    found: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value:
            raise TraceError(f"`{part}` is not KEY=VALUE", f"write it like `{example}`")
        if name not in names:
            near = get_close_matches(name, names, n=1)
            raise TraceError(f"`{name}` is not known", f"did you mean `{near[0]}`?" if near else f"known are {', '.join(names)}")
        if name in found:
            raise TraceError(f"`{name}` is given twice", "give it once")
        found[name] = value
    return found


def number_of(name: str, text: str) -> float:
    """Raises `TraceError` for what is no finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TraceError(f"`{name}={text}` is not a number", f"write it like `{name}=2`")
    return value


def lengths_of(name: str, text: str) -> Lengths:
    """`800` or `800:2400`: the mean, and the 95th percentile. Raises `TraceError`."""
    mean, colon, p95 = text.partition(":")
    return Lengths(number_of(name, mean), number_of(name, p95) if colon else None)


def seconds_of(name: str, text: str) -> float:
    """`90m`, `30s`. Raises `TraceError`."""
    try:
        return float(Duration.parse(text))
    except UnitError as problem:
        raise TraceError(f"`{name}={text}`: {problem}", f"write it like `{name}=90m`") from None


def _steps_of(name: str, text: str) -> tuple[tuple[float, float], ...]:
    steps = (each.partition(":") for each in text.split(";") if each.strip())
    return tuple((seconds_of(name, at.strip()), number_of(name, rps)) for at, _, rps in steps)


def _number(field: str) -> Callable[[str, str], tuple[str, Any]]:
    return lambda name, text: (field, number_of(name, text))


def _whole(field: str) -> Callable[[str, str], tuple[str, Any]]:
    return lambda name, text: (field, round(number_of(name, text)))


_READERS: Final[Mapping[str, Callable[[str, str], tuple[str, Any]]]] = {
    "hours": lambda name, text: ("duration_s", number_of(name, text) * 3600),
    "duration": lambda name, text: ("duration_s", seconds_of(name, text)),
    "rps": _number("rps"),
    "swing": _number("swing"),
    "peak_hour": _number("peak_hour"),
    "steps": lambda name, text: ("steps", _steps_of(name, text)),
    "cv": _number("cv"),
    "input": lambda name, text: ("input", lengths_of(name, text)),
    "output": lambda name, text: ("output", lengths_of(name, text)),
    "turns": _number("turns"),
    "think": lambda name, text: ("think_s", seconds_of(name, text)),
    "system": _whole("system_tokens"),
    "most_context": _whole("most_context"),
}


def _within(name: str, value: float, least: float, most: float, above: bool = False) -> None:
    if not least <= value <= most or (above and value == least):
        raise TraceError(f"`{name}` of {value:g} is not possible", f"write a number {'above' if above else 'from'} {least:g} to {most:g}")
