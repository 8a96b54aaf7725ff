"""`penstock simulate`: traffic replayed on hardware that is not rented yet, under scaling policies: cost, latency, and what binds."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import typer

from penstock.cli import simulate_options as options
from penstock.cli.options import CAPACITY, CONFIG_FILE, ConfigOption, JsonOption, OutputOption, QuietOption
from penstock.cli.output import FINE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, print_json, say, stderr_console
from penstock.cli.simulate_levers import pulled
from penstock.cli.simulate_planning import Wanted, hardware_of, plan_of
from penstock.cli.simulate_reading import Given, Traffic, check_sources, given_traffic

if TYPE_CHECKING:
    from penstock.capacity.replicas import Hardware
    from penstock.capacity.simulating import Plan
    from penstock.capacity.simulation_report import SimulationReport
    from penstock.config.settings import Settings
PICTURES = (".svg", ".html", ".htm")
NEEDED = ("numpy", "numba", "pyarrow")


class Printed(NamedTuple):
    """What becomes of the run."""

    picture: Path | None
    output: Path | None
    name: str | None
    keep: bool
    json: bool
    quiet: bool


def register(app: typer.Typer) -> None:
    app.command("simulate", rich_help_panel=CAPACITY)(simulate)


def simulate(
    trace: options.TraceArgument = None,
    from_ledger: options.LedgerOption = None,
    where: options.WhereOption = None,
    synthetic: options.SyntheticOption = None,
    expand: options.ExpandOption = None,
    format_of_trace: options.TraceFormatOption = None,
    time_unit: options.TimeUnitOption = None,
    drop_bad: options.DropBadOption = False,
    limit: options.LimitOption = None,
    block_tokens: options.BlockTokensOption = 512,
    cache_hit_rate: options.HitRateOption = "0",
    tier_share: options.TierShareOption = None,
    model: options.ModelOption = None,
    gpu: options.GpuOption = None,
    tp: options.TpOption = None,
    format: options.FormatOption = None,
    kv: options.KvOption = "bf16",
    fleet: options.FleetOption = None,
    usd_per_hour: options.PriceOption = None,
    offer: options.OfferOption = None,
    cold_start: options.ColdStartOption = "180s",
    spot: options.SpotOption = None,
    max_sequences: options.SequencesOption = 256,
    replicas: options.ReplicasOption = None,
    least: options.MinOption = None,
    most: options.MaxOption = None,
    policy: options.PolicyOption = None,
    workload: options.ClassOption = None,
    slo: options.SloOption = "ttft_p95=2s",
    shield: options.ShieldOption = None,
    spill: options.SpillOption = None,
    routing: options.RoutingOption = "least_requests",
    seed: options.SeedOption = 0,
    picture: options.PictureOption = None,
    output: OutputOption = None,
    name: options.NameOption = None,
    keep: options.KeepOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Replay traffic on hardware that is not rented yet, under scaling policies: what it costs, what it keeps, and what binds.

    Exit 3 when no policy keeps the SLO.
    """
    traffic = Traffic(trace, from_ledger, where or [], synthetic, expand, format_of_trace, time_unit, drop_bad, block_tokens, limit, seed)
    wanted = Wanted(
        model, gpu, tp, format, kv, fleet, usd_per_hour, offer, cold_start, spot, max_sequences, replicas, least, most, policy or [],
        workload, slo, shield or [], spill, routing,
    )  # fmt: skip
    return _run(traffic, (cache_hit_rate, tier_share), wanted, Printed(picture, output, name, keep, json, quiet), config)


def _run(traffic: Traffic, levers: tuple[str, str | None], wanted: Wanted, printed: Printed, config: Path) -> int:
    _require()
    check_sources(traffic)
    _check_files(printed)

    @cache
    def settings() -> "Settings":
        from penstock.config.load import load

        return load(config, os.environ)

    needs_config = wanted.fleet is not None or traffic.from_ledger is not None or printed.keep or config != CONFIG_FILE
    known = settings() if needs_config or config.exists() else None
    hardware = hardware_of(wanted, known)
    given = pulled(given_traffic(traffic, settings, printed.quiet), traffic, *levers, settings, printed.quiet)
    plan = plan_of(wanted, hardware, known, traffic.seed, given)
    for line in _shape(given):
        say(line, printed.quiet)
    say(hardware.words, printed.quiet)
    usd = hardware.usd_per_hour
    say(f"{'no price' if usd is None else f'{float(usd):.4g} USD'} per replica and hour: {hardware.price_source}", printed.quiet)
    report = _simulated(given, hardware, plan, printed)
    _tell(report, printed)
    if printed.keep:
        _keep(report, settings(), printed.quiet)
    return FINE if any(row.meets is not False for row in report.rows) else PROBLEMS_FOUND


def _require() -> None:
    """Raises `CommandError` where the extra is missing."""
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise CommandError(f"`penstock simulate` needs {', '.join(missing)}", 'pip install "penstock[capacity]"')


def _check_files(printed: Printed) -> None:
    """Before anything takes long. Raises `CommandError`."""
    if printed.picture is not None and printed.picture.suffix.lower() not in PICTURES:
        raise CommandError(f"--picture {printed.picture} is no {' or '.join(PICTURES[:2])}", "write `--picture run.svg`", WRONG_USAGE)
    for path in (printed.picture, printed.output):
        if path is not None and not path.parent.is_dir():
            raise CommandError(f"{path.parent} is no directory", "make it, or write elsewhere", WRONG_USAGE)


def _simulated(given: Given, hardware: "Hardware", plan: "Plan", printed: Printed) -> "SimulationReport":
    from penstock.adapters.feeds.latency import latency_model
    from penstock.capacity.simulating import Asked, simulated
    from penstock.domain.simulation.fleet import FleetError
    from penstock.domain.simulation.trace import TraceError

    now_ns = time.time_ns()
    name = printed.name or f"{hardware.deployment.architecture.name} on {hardware.name}"
    asked = Asked(f"sim_{now_ns // 10**6:x}", now_ns, name, given.words, given.notes)
    try:
        with _progress(printed.quiet) as told:
            return simulated(given.trace, hardware, plan, latency_model(), asked, told)
    except (FleetError, TraceError) as problem:
        raise CommandError(str(problem), problem.hint) from None


@contextmanager
def _progress(quiet: bool) -> "Iterator[Callable[[float, str], None]]":
    """A bar for the run that goes on, on terminals alone."""
    console = stderr_console()
    if quiet or not console.is_terminal:
        yield lambda share, what: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading the simulator", total=1.0)
        yield lambda share, what: bar.update(task, completed=share, description=what)


def _shape(given: Given) -> list[str]:
    from penstock.domain.simulation.shape import shape, shape_words

    return [f"{given.words}: {line}" if not index else f"  {line}" for index, line in enumerate(shape_words(shape(given.trace)))] + [
        f"  {note}" for note in given.notes
    ]


def _tell(report: "SimulationReport", printed: Printed) -> None:
    """Data on stdout or in the file, the picture beside it."""
    from penstock.cli.simulate_table import print_run
    from penstock.console.simulated import page, picture

    if printed.picture is not None:
        draw = page if printed.picture.suffix.lower() in PICTURES[1:] else picture
        printed.picture.write_text(draw(report), "utf-8")
        say(f"drawn: {printed.picture}", printed.quiet)
    if printed.output is not None:
        printed.output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        say(f"written: {printed.output}", printed.quiet)
    if printed.json:
        if printed.output is None:
            print_json(report)
        return
    print_run(report)
    for note in report.notes:
        say(f"note: {note}", printed.quiet)


def _keep(report: "SimulationReport", settings: "Settings", quiet: bool) -> None:
    from penstock import bootstrap
    from penstock.capacity.simulation_report import keep

    keep(bootstrap.open_documents(settings), report)
    say(f"kept as {report.id}: the console shows it at /simulation/{report.id}", quiet)
