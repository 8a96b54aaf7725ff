"""A table of rates into requests: what production publishes of its traffic is often no more than requests a second by window."""

from typing import Final, NamedTuple

import msgspec
import numpy as np

from penstock.domain.simulation.synthetic import arrivals, drawn
from penstock.domain.simulation.trace import Floats, Trace, TraceError
from penstock.domain.simulation.traffic import MOST_REQUESTS, Lengths, lengths_of, number_of, pairs_of

_EXAMPLE: Final = "input=800:2400,output=200:600,thin=0.01"


class RateTable(NamedTuple):
    """Rates of windows that follow one another."""

    start_s: Floats
    rate_rps: Floats


class Expansion(msgspec.Struct, frozen=True):
    """What a table of rates does not say, and its reader has to."""

    input: Lengths
    output: Lengths
    cv: float = 1.0
    """of the gaps within a window"""
    thin: float = 1.0
    """share of the requests that is made: production is of thousands a second"""


def parse_expansion(text: str) -> Expansion:
    """`input=800:2400,output=200:600` (mean, or mean:p95), and `cv`, `thin`. Raises `TraceError`."""
    given = pairs_of(text, ("input", "output", "cv", "thin"), _EXAMPLE)
    if missing := [name for name in ("input", "output") if name not in given]:
        raise TraceError(f"the lengths are not said: {' and '.join(missing)} missing", f"write them like `{_EXAMPLE}`")
    cv, thin = number_of("cv", given.get("cv", "1")), number_of("thin", given.get("thin", "1"))
    if not 0 < thin <= 1 or not 0 <= cv <= 100:
        raise TraceError("`thin` has to be above 0 and at most 1, `cv` from 0 to 100", f"write them like `{_EXAMPLE}`")
    return Expansion(lengths_of("input", given["input"]), lengths_of("output", given["output"]), cv, thin)


def expand(table: RateTable, expansion: Expansion, seed: int) -> Trace:
    """Requests at the rates of the table, with lengths drawn one by one. Raises `TraceError`.

    The last window is as long as the one before it. Time begins with the first window.
    """
    if len(table.start_s) < 2:
        raise TraceError("the table has fewer than two windows, so nothing tells how long one is", "give it two or more rows")
    steps = np.diff(table.start_s)
    if not (steps > 0).all():
        raise TraceError("the windows of the table are not in order of time", "sort them by `window_start_s`, each once")
    if not (np.isfinite(table.rate_rps).all() and (table.rate_rps >= 0).all()):
        raise TraceError("a rate of the table is missing, negative or infinite", "each row needs a rate of 0 or more")
    at = np.append(table.start_s, table.start_s[-1] + steps[-1]) - table.start_s[0]
    rate = table.rate_rps * expansion.thin
    expected = float((rate * np.diff(at)).sum())
    if expected > MOST_REQUESTS:
        share = expansion.thin * MOST_REQUESTS / expected / 10
        raise TraceError(f"{expected:,.0f} requests are more than {MOST_REQUESTS:,}", f"take a share of them: `thin={share:.1g}`")
    rng = np.random.default_rng(seed)
    arrival = arrivals(at, rate, expansion.cv, rng)
    if not len(arrival):
        raise TraceError(f"no request comes: {expected:.3g} are expected", "take a larger share of them, or a longer table")
    return Trace(arrival, *drawn((expansion.input, expansion.output), len(arrival), rng))
