"""What `penstock simulate` replays: a file, the ledger or made traffic, as a trace with all that is to be said of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from penstock.cli.output import FAILED, WRONG_USAGE, CommandError, say, stderr_console

if TYPE_CHECKING:
    from penstock.capacity.traces.ledger import Measured
    from penstock.config.settings import Settings
    from penstock.domain.simulation.trace import Trace

SOURCES = "name a TRACE, --from-ledger 30d, or --synthetic rps=2,input=800,output=200,hours=6"

DAY_S = 86_400.0


class Traffic(NamedTuple):
    """What was asked for."""

    trace: Path | None
    from_ledger: str | None
    where: list[str]
    synthetic: str | None
    expand: str | None
    form: str | None
    time_unit: str | None
    drop_bad: bool
    block_tokens: int
    limit: int | None
    seed: int


class Given(NamedTuple):
    """The requests, where they are from, and what is to be said of them."""

    trace: "Trace"
    words: str
    notes: tuple[str, ...]
    midnight_s: float = 0.0
    """from the midnight (UTC) before its begin to its begin; 0 where the instant of its begin is unknown"""
    hit_rate: float = 0.0
    """share of the requests that a cache answers before the fleet"""


def check_sources(asked: Traffic) -> None:
    """Raises `CommandError` unless there is one source of requests."""
    sources = [each is not None for each in (asked.trace, asked.from_ledger, asked.synthetic)]
    if sum(sources) != 1:
        raise CommandError("nothing to replay" if not any(sources) else "more than one source of requests", SOURCES, WRONG_USAGE)
    if asked.where and asked.from_ledger is None:
        raise CommandError("--where filters the ledger", "use it with --from-ledger", WRONG_USAGE)
    of_files = {"--expand": asked.expand, "--format-of-trace": asked.form, "--time-unit": asked.time_unit, "--drop-bad": asked.drop_bad}
    for option, value in of_files.items():
        if value and asked.trace is None:
            raise CommandError(f"{option} says how a TRACE is read", "leave it out", WRONG_USAGE)
    if asked.form is not None:
        from penstock.capacity.traces.detecting import WORDS
        from penstock.config.problems import nearest

        if asked.form not in WORDS:
            raise CommandError(f"there is no format of traces `{asked.form}`", nearest(asked.form, WORDS, ", ".join(WORDS)), WRONG_USAGE)


def given_traffic(asked: Traffic, settings: "Callable[[], Settings]", quiet: bool) -> Given:
    """`settings` are read for the ledger alone. Raises `CommandError`, `StoreError`, `ConfigError`, `OSError`."""
    from penstock.domain.simulation.checking import first_requests
    from penstock.domain.simulation.trace import TraceError

    try:
        found = (
            _made(asked) if asked.synthetic is not None else _read(asked) if asked.trace is not None else _logged(asked, settings(), quiet)
        )
    except TraceError as problem:
        raise CommandError(str(problem), problem.hint, FAILED if asked.trace or asked.from_ledger else WRONG_USAGE) from None
    if asked.limit is None or asked.limit >= found.trace.requests:
        return found
    note = f"the first {asked.limit:,} of {found.trace.requests:,} requests"
    return found._replace(trace=first_requests(found.trace, asked.limit), notes=(*found.notes, note))


def _made(asked: Traffic) -> Given:
    from penstock.domain.simulation.synthetic import synthetic
    from penstock.domain.simulation.traffic import parse_traffic

    traffic = parse_traffic(asked.synthetic or "")
    return Given(synthetic(traffic, asked.seed), f"synthetic: {asked.synthetic}", ("the requests are made, not measured",))


def _read(asked: Traffic) -> Given:
    from penstock.capacity.traces.reading import read_trace
    from penstock.capacity.traces.times import UNITS
    from penstock.domain.simulation.expanding import parse_expansion

    assert asked.trace is not None
    unit = next((each for each in UNITS if each == asked.time_unit), None)
    if asked.time_unit is not None and unit is None:
        raise CommandError(f"`{asked.time_unit}` is not a unit of time", f"write {', '.join(UNITS)}", WRONG_USAGE)
    expansion = None if asked.expand is None else parse_expansion(asked.expand)
    read = read_trace(
        asked.trace, asked.form, time_unit=unit, drop_bad=asked.drop_bad, block_tokens=asked.block_tokens, expansion=expansion,
        seed=asked.seed,
    )  # fmt: skip
    return Given(read.trace, f"{asked.trace.name} ({read.format})", read.notes, (read.begin_epoch_s or 0.0) % DAY_S)


def _logged(asked: Traffic, settings: "Settings", quiet: bool) -> Given:
    assert asked.from_ledger is not None
    read = ledger_read(asked.from_ledger, asked.where, settings, time.time_ns(), quiet)
    where = f", {', '.join(asked.where)}" if asked.where else ""
    return Given(read.trace, f"the ledger, {read.label}{where}", read.notes, read.begin_ns / 10**9 % DAY_S)


class LedgerRead(NamedTuple):
    """A window of the ledger."""

    label: str
    trace: "Trace"
    notes: tuple[str, ...]
    begin_ns: int
    measured: "Measured"


def ledger_read(since: str, where: list[str], settings: "Settings", now_ns: int, quiet: bool) -> LedgerRead:
    """Says how far it is on a terminal. Raises `CommandError`, `StoreError`, `TraceError`."""
    from penstock.bootstrap.capacity import ledger_trace
    from penstock.finops.costs import QueryError
    from penstock.finops.window import WindowError, window

    try:
        span = window(since, None, now_ns=now_ns, timezone=settings.server.timezone)
        say(f"reading the ledger: {span.label}", quiet)
        with _counted(quiet) as progress:
            read = ledger_trace(settings, span, where, now_ns=now_ns, progress=progress)
    except (WindowError, QueryError) as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    return LedgerRead(span.label, read.trace, read.notes, read.begin_ns, read.measured)


@contextmanager
def _counted(quiet: bool) -> "Iterator[Callable[[int], None]]":
    """Records that were read, on terminals alone."""
    console = stderr_console()
    if quiet or not console.is_terminal:
        yield lambda read: None
        return
    with console.status("records of the ledger") as status:
        yield lambda read: status.update(f"{read:,} records of the ledger")
