"""`penstock record`: training runs and other costs that no request carries; each becomes an entry of the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, DryRunOption, JsonOption, QuietOption
from penstock.cli.output import FAILED, FINE, INCOMPLETE, WRONG_USAGE, CommandError, complain, print_json, say, stdout_console

if TYPE_CHECKING:
    from decimal import Decimal

    from penstock.config.settings import Settings
    from penstock.finops.recording import Recorded, Told
    from penstock.finops.run_costs import RunCost

TagOption = Annotated[list[str] | None, typer.Option("--tag", help="Tag, as requests carry them; repeatable.", metavar="NAME=VALUE")]
IdOption = Annotated[
    str | None, typer.Option("--id", help="Its id; telling the same again records it once. [default: made from what is told]")
]
NameOption = Annotated[str, typer.Option(help="What it is called in reports.")]


def register(app: typer.Typer) -> None:
    from penstock.cli.record_bill import bill

    record = typer.Typer(help="Record training runs and other costs.", rich_markup_mode="rich")
    record.command("training-run")(training_run)
    record.command("cost")(cost)
    record.command("bill")(bill)
    record.command("list")(list_)
    record.command("import")(import_)
    app.add_typer(record, name="record", rich_help_panel=MONEY)


def training_run(
    name: NameOption,
    since: Annotated[
        str, typer.Option(help="When it began: `2026-11-20T08:00:00Z`, `2026-11-20`, or `12h` back from now.", metavar="WHEN")
    ],
    until: Annotated[str, typer.Option(help="When it ended.", metavar="WHEN")],
    tag: TagOption = None,
    fleet: Annotated[str | None, typer.Option(help="Own fleet that it ran on: its GPUs are then part of that fleet's rent.")] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs (or slices) that it had all the time.", metavar="NUMBER")] = None,
    gpu_hours: Annotated[str | None, typer.Option(help="GPU-hours that it took; unset: `--gpus` times its time.", metavar="HOURS")] = None,
    gpu_price: Annotated[str | None, typer.Option(help="Price of a GPU-hour, where no fleet stands for it.", metavar="USD")] = None,
    gpu_cost: Annotated[
        str | None, typer.Option(help="What all of its GPU-hours cost, where no fleet stands for them.", metavar="USD")
    ] = None,
    lost_gpu_hours: Annotated[
        str | None, typer.Option(help="GPU-hours of work that was lost (preemption, crashes) and done again.", metavar="HOURS")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Checkpoints and data.", metavar="USD")] = None,
    transfer: Annotated[str | None, typer.Option(help="Network.", metavar="USD")] = None,
    engineering_hours: Annotated[str | None, typer.Option(help="Hours that people worked for it.", metavar="HOURS")] = None,
    engineering_rate: Annotated[str | None, typer.Option(help="What such an hour costs.", metavar="USD")] = None,
    id: IdOption = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> int:
    """Record a training run: hardware, storage, transfer and people's time.

    `penstock record training-run --name fine-tune-7b --tag team=search --since 2026-11-20T08:00:00Z --until 2026-11-20T20:00:00Z
    --gpus 8 --gpu-price 2.34`
    """
    words = {
        "name": name, "id": id, "since": since, "until": until, "fleet": fleet, "gpus": gpus, "gpu_hours": gpu_hours,
        "gpu_price": gpu_price, "gpu_cost": gpu_cost, "lost_gpu_hours": lost_gpu_hours, "storage": storage, "transfer": transfer,
        "engineering_hours": engineering_hours, "engineering_rate": engineering_rate,
    }  # fmt: skip
    return _record({"kind": "training-run", "tags": _tags(tag or ())} | words, config, json, dry_run, quiet)


def cost(
    name: NameOption,
    usd: Annotated[str, typer.Option(help="What it costs; below 0 for a credit.", metavar="USD")],
    since: Annotated[
        str | None, typer.Option(help="Its day, or the begin of the time that it is spread over; a month is that month. [default: today]")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End of that time, exclusive.", metavar="WHEN")] = None,
    tag: TagOption = None,
    id: IdOption = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> int:
    """Record any other cost: a data set, a licence, a correction of one recorded before.

    `penstock record cost --name labels --usd 1200 --since 2026-11 --tag team=search`
    """
    words = {"kind": "cost", "name": name, "usd": usd, "since": since, "until": until, "id": id, "tags": _tags(tag or ())}
    return _record(words, config, json, dry_run, quiet)


def list_(
    since: Annotated[str | None, typer.Option(help="Entries that were under way after this. [default: 30d]", metavar="WHEN")] = None,
    until: Annotated[str | None, typer.Option(help="... and before this. [default: now]", metavar="WHEN")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
) -> int:
    """List what was recorded, and what each run costs; on own hardware by allocation of the fleet's rent."""
    import time

    from penstock import bootstrap
    from penstock.finops.run_costs import DEFINITION, run_cost_json, run_costs
    from penstock.finops.window import WindowError, window

    settings, now_ns = _settings(config), time.time_ns()
    try:
        span = window(since, until, now_ns=now_ns, timezone=settings.server.timezone)
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    with bootstrap.open_books(settings, now_ns) as books:
        found = run_costs(books, span.since_ns, span.until_ns)
    if json:
        print_json({"definition": DEFINITION, "entries": [run_cost_json(each) for each in found]})
    elif found:
        _print_table(found)
    else:
        say(f"nothing was recorded ({span.label}): record a run with `penstock record training-run --help`")
    return FINE


def import_(
    files: Annotated[list[Path], typer.Argument(help="Files as `penstock.recording` leaves them when nobody listens.", metavar="FILE...")],
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> int:
    """Record what stands in files, one JSON object each, in the words of `POST /records`. Importing twice records once."""
    from penstock.finops.recording import RecordingError, told_of

    settings, done = _settings(config), []
    for file in files:
        try:
            done.append(_put(settings, told_of(file.read_bytes()), dry_run))
        except RecordingError as problem:
            complain(f"{file}: {problem}", problem.hint)
            continue
        _tell(done[-1], dry_run, quiet)
    if json:
        print_json({"entries": [_json(each, dry_run) for each in done]})
    return FINE if len(done) == len(files) else INCOMPLETE if done else FAILED


def _record(words: Mapping[str, Any], config: Path, json: bool, dry_run: bool, quiet: bool) -> int:
    from penstock.finops.recording import RecordingError, told_of

    try:
        told = told_of({word: value for word, value in words.items() if value is not None})
        done = _put(_settings(config), told, dry_run)
    except RecordingError as problem:
        raise CommandError(_option_words(str(problem)), _option_words(problem.hint), FAILED if problem.conflict else WRONG_USAGE) from None
    if json:
        print_json(_json(done, dry_run))
    _tell(done, dry_run, quiet, printed=json)
    return FINE


def _option_words(text: str) -> str:
    """A message about words of the ledger, in those of the command line."""
    import re

    from penstock.finops.recording import Told

    known = "|".join(sorted(Told.__struct_fields__, key=len, reverse=True))
    text = re.sub(rf"^(.*) - at `\$\.({known})`$", r"`\2`: \1", text)
    return re.sub(rf"`({known})`", lambda match: f"`--{match[1].replace('_', '-')}`", text)


def _json(done: "Recorded", dry_run: bool) -> dict[str, object]:
    from penstock.finops.recording import entry_json

    return {"recorded": done.new and not dry_run, "entry": entry_json(done.entry), "notes": list(done.notes)}


def _tell(done: "Recorded", dry_run: bool, quiet: bool, printed: bool = False) -> None:
    """The id on stdout, so that scripts can keep it; the rest on stderr."""
    if not printed and not dry_run:
        typer.echo(done.entry.id)
    verb = "would record" if dry_run and done.new else "recorded" if done.new else "nothing new:"
    say(f"{verb} {done.entry.id} ({done.entry.name})", quiet)
    for note in done.notes:
        say(f"note: {note}", quiet)


def _tags(given: Iterable[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"`{text}` is not a tag", "write it like `--tag team=search`", WRONG_USAGE)
        if tags.get(name, value) != value:
            raise CommandError(f"tag `{name}` is given twice, and differently", "pass it once", WRONG_USAGE)
        tags[name] = value
    return tags


def _settings(config: Path) -> "Settings":
    import os

    from penstock.config.load import load

    return load(config, os.environ)


def _put(settings: "Settings", told: "Told", dry_run: bool) -> "Recorded":
    """Records it, and who did so. Raises `RecordingError`, `StoreError`."""
    from penstock import bootstrap
    from penstock.cli.audit import actor
    from penstock.finops.audit import cost_recorded
    from penstock.finops.recording import Recorder

    done = Recorder(settings, lambda: bootstrap.open_reading(settings), lambda: bootstrap.open_costs(settings))(told, dry_run=dry_run)
    if done.new and not dry_run:
        bootstrap.open_audit(settings).write(cost_recorded(done.entry, actor(), done.entry.recorded_ns))
    return done


def _print_table(found: "Sequence[RunCost]") -> None:
    """What nothing was paid for is no column; off a terminal nothing is cut or drawn."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from penstock.cli.cost_table import money, printable
    from penstock.finops.run_costs import DEFINITION, hours_text
    from penstock.finops.window import iso

    console = stdout_console()
    plain = not console.is_terminal
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2 if plain else 1, 0, 0))
    columns = _money_columns(found)
    flat = money([amounts[index] for index in range(len(found)) for amounts in columns.values()])
    rows = [flat[start : start + len(columns)] for start in range(0, len(flat), len(columns))]
    for heading in ("id", "name", "begin", "GPU-hours"):
        table.add_column(
            heading,
            overflow="fold",
            no_wrap=plain or heading in ("begin", "GPU-hours"),
            justify="right" if heading == "GPU-hours" else "left",
        )
    for heading in columns:
        table.add_column(heading, no_wrap=True, justify="right")
    for each, cells in zip(found, rows, strict=True):
        hours = "" if each.entry.kind == "other" else "unknown" if each.gpu_hours is None else hours_text(each.gpu_hours)
        table.add_row(each.entry.id, printable(each.entry.name), iso(each.entry.since_ns)[:10], hours, *cells)
    if plain:
        console = Console(highlight=False, markup=False, emoji=False, color_system=None, width=1000)
    console.print(table)
    for each in found:
        if each.note:
            console.print(f"{each.entry.id}: {each.note}", soft_wrap=True)
    console.print(f"USD; {DEFINITION}", soft_wrap=True)


def _money_columns(found: "Sequence[RunCost]") -> "dict[str, list[Decimal | None]]":
    from penstock.domain.units import usd

    columns: dict[str, Sequence[int | None]] = {
        "compute": [each.compute for each in found],
        "lost": [each.lost for each in found],
        "storage": [each.entry.storage_cost for each in found],
        "transfer": [each.entry.transfer_cost for each in found],
        "people": [each.entry.engineering_cost for each in found],
        "total": [each.total for each in found],
    }
    shown = {name: amounts for name, amounts in columns.items() if name in ("compute", "total") or any(amount != 0 for amount in amounts)}
    return {name: [None if amount is None else usd(amount) for amount in amounts] for name, amounts in shown.items()}
