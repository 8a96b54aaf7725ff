"""Caching and tiers before a simulated fleet: shares as they are given, or as the ledger measured them."""

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from penstock.cli.output import FAILED, WRONG_USAGE, CommandError
from penstock.cli.simulate_reading import Given, Traffic, ledger_read

if TYPE_CHECKING:
    from penstock.capacity.traces.ledger import Measured
    from penstock.config.settings import Settings

MEASURED = "measured"
SINCE = "30d"
OTHERS = "other tiers"


def pulled(given: Given, asked: Traffic, hit_rate: str, tier: str | None, settings: "Callable[[], Settings]", quiet: bool) -> Given:
    """The requests with `hit_rate`, and those of a tier alone. Raises `CommandError`, `StoreError`, `ConfigError`."""

    @cache
    def measured() -> "Measured":
        from penstock.domain.simulation.trace import TraceError

        if asked.from_ledger is not None:
            raise CommandError("what the ledger's cache answered is not in its trace", "for a tier of it: --where tier=NAME", WRONG_USAGE)
        try:
            return ledger_read(SINCE, [], settings(), time.time_ns(), quiet).measured
        except TraceError as problem:
            raise CommandError(f"nothing was measured: {problem}", "write a share from 0 to 1", FAILED) from None

    rate = _rate(hit_rate, measured)
    given = given._replace(hit_rate=rate)
    if hit_rate == MEASURED:
        given = given._replace(notes=(*given.notes, f"{rate:.1%} of the requests of the ledger's last {SINCE} were answered by its cache"))
    return given if tier is None else _of_tier(given, tier, asked.seed, measured)


def _rate(text: str, measured: "Callable[[], Measured]") -> float:
    if text == MEASURED:
        return measured().hit_rate or 0.0
    rate = _share(text)
    if rate is None:
        raise CommandError(f"`--cache-hit-rate {text}` is not a share", f"write one from 0 to 1, or `{MEASURED}`", WRONG_USAGE)
    return rate


def _of_tier(given: Given, tier: str, seed: int, measured: "Callable[[], Measured]") -> Given:
    from penstock.config.problems import nearest
    from penstock.domain.simulation.levers import after_tiering

    share, known = _share(tier), {}
    if share is None:
        known = measured().shares
        if tier not in known:
            hint = nearest(tier, known, f"known are {', '.join(known)}, or write a share from 0 to 1")
            raise CommandError(f"the ledger has no tier `{tier}` in its last {SINCE}", hint, WRONG_USAGE)
        share = known[tier]
    part = after_tiering(given.trace, known or {tier: share, OTHERS: 1 - share}, seed)[tier]
    if not part.requests:
        raise CommandError("no request is left for this tier", "take a larger --tier-share", FAILED)
    source = f"as in the ledger's last {SINCE}" if known else "as given"
    return given._replace(trace=part, notes=(*given.notes, f"{share:.1%} of the requests, drawn at random, are this tier's: {source}"))


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None
