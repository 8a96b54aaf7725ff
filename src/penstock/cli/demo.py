"""`penstock demo`: a fictional firm's last thirty days in a real ledger, its traffic on a real gateway, and the console over both."""

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from penstock.cli.options import START, JsonOption, QuietOption
from penstock.cli.output import FINE, INTERRUPTED, CommandError, print_json, say, stderr_console

if TYPE_CHECKING:
    import asyncio

    from penstock.cli.demo_screen import Screen
    from penstock.config.settings import Settings
    from penstock.demo.player import Player
    from penstock.demo.seeding import ByMeaning
    from penstock.demo.stage import Stage
    from penstock.finops.costs import CostReport

DEFAULT_SECONDS = 12.0
REFRESH_S = 1.0
LAST_ANSWERS_S = 3.0
OPEN_AT = 0.6
"""part of the history after which the gateway starts"""
BY = ("team",)
POSTGRES, REDIS = "postgresql://127.0.0.1:5432/postgres", "redis://127.0.0.1:6379"


class Wishes(NamedTuple):
    """What was asked for on the command line."""

    seconds: float | None
    seed: int
    requests: int
    live: bool
    """whether the screen is a terminal that somebody looks at"""
    browse: bool
    quiet: bool


def register(app: typer.Typer) -> None:
    app.command("demo", rich_help_panel=START)(demo)


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Stop after this long of live traffic. [default: until Ctrl-C; 12 when stdout is not a terminal]", metavar="N", min=0.1
        ),
    ] = None,
    requests: Annotated[int, typer.Option(help="About that many requests in the thirty days before.", metavar="N", min=1000)] = 310_000,
    seed: Annotated[int, typer.Option(help="Another seed, other traffic.", metavar="N", min=0)] = 7,
    browse: Annotated[bool, typer.Option("--open", help="Open the console in the browser.")] = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Two gateways as one instead, on PostgreSQL and Redis; one gets killed.")
    ] = False,
    postgres: Annotated[
        str, typer.Option(help="With --cluster: a database from which databases can be created.", metavar="URL")
    ] = POSTGRES,
    redis: Annotated[str, typer.Option(help="With --cluster: a Redis with an empty database.", metavar="URL")] = REDIS,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show money moving: thirty days of a fictional firm, live traffic on a real gateway, and the console.

    Needs no key and no GPU, and leaves nothing behind.
    """
    import asyncio

    from penstock.demo.seeding import SeedError
    from penstock.demo.stage import StageError
    from penstock.ports.answer_store import AnswerStoreError

    live = sys.stdout.isatty() and not json
    if cluster:
        return _cluster(postgres, redis, seconds, json, quiet)
    if seconds is None and not live:
        seconds = DEFAULT_SECONDS
    try:
        report, interrupted = asyncio.run(_run(Wishes(seconds, seed, requests, live, browse, quiet)))
    except (StageError, SeedError, AnswerStoreError) as error:
        raise CommandError(str(error), error.hint) from None
    if report is None:
        return INTERRUPTED
    _print(report, json, live)
    say("that was the demo; it left nothing behind. Yours: penstock init", quiet)
    return INTERRUPTED if interrupted and seconds is not None else FINE


def _cluster(postgres: str, redis: str, seconds: float | None, json: bool, quiet: bool) -> int:
    from penstock.cli import demo_cluster
    from penstock.demo.stage import StageError

    try:
        return demo_cluster.show(demo_cluster.Wishes(postgres, redis, seconds, json, quiet))
    except StageError as error:
        raise CommandError(str(error), error.hint) from None


async def _run(wishes: Wishes) -> "tuple[CostReport | None, bool]":
    """Plays until the time is over or somebody stops it; returns the last report (None: not even started) and whether it was stopped."""
    import asyncio
    import os
    import time

    from penstock.bootstrap import controller_socket
    from penstock.bootstrap.demonstrating import lacks_for_meaning
    from penstock.cli.cost import cost_figures
    from penstock.cli.demo_screen import Screen
    from penstock.config.load import load
    from penstock.demo.player import Player
    from penstock.demo.stage import stage

    stop = stop_signals()
    say("starting: thirty days of a fictional firm, a gateway, simulated engines ...", wishes.quiet)
    began_ns = time.time_ns()
    lacking = lacks_for_meaning(os.environ)
    if lacking is not None:
        say(f"the demo shows no answers by meaning: {lacking}", wishes.quiet)
    with stage(wishes.seed, began_ns, wishes.requests, lacking is None) as scene:
        settings = load(scene.config, {})
        seeded = await _seeded(wishes, scene, settings, began_ns, stop)
        if stop.is_set():
            return None, True
        scene.open(controller_socket(settings))
        player = Player(scene.host, scene.port)
        if not await unless_stopped(scene.wait_until_ready(player.ready), stop):
            return None, True
        screen = Screen(scene.address, scene.config, seeded, wishes.seed)
        screen.welcome(wishes.live, wishes.quiet, wishes.seconds)
        if wishes.browse:
            _browse(scene.address)
        interrupted = await _played(wishes, scene, player, screen, settings, stop)
        return await asyncio.to_thread(cost_figures, settings, by=BY), interrupted


async def _seeded(wishes: Wishes, scene: "Stage", settings: "Settings", until_ns: int, stop: "asyncio.Event") -> int:
    """The history in the ledger; returns how many requests it has. Ends early when stopped.

    The gateway starts while the rest of it comes in: it is ready about when the history is.
    """
    import asyncio

    from penstock import bootstrap
    from penstock.demo.history import Plan
    from penstock.demo.seeding import Task, seed

    task = Task(Plan(wishes.seed, until_ns, wishes.requests), settings, bootstrap.price_book(settings))
    with _progress(wishes) as show:

        def wanted(taken: int) -> bool:
            show(taken)
            if taken >= wishes.requests * OPEN_AT:
                scene.open(bootstrap.controller_socket(settings))
            return not stop.is_set()

        store = bootstrap.open_store(settings)
        try:
            return await asyncio.to_thread(seed, task, store, wanted, _by_meaning(settings, wishes.quiet))
        finally:
            store.close()


def _by_meaning(settings: "Settings", quiet: bool) -> "ByMeaning | None":
    """The semantic cache of the history; None where it is off."""
    import os
    from functools import partial

    from penstock.bootstrap.demonstrating import keep_log, meant
    from penstock.demo import faq
    from penstock.demo.questions import frequent
    from penstock.demo.seeding import ByMeaning

    if not settings.cache.semantic.enabled:
        return None
    asks, log = frequent(faq.topics()[0].asked[0]), partial(say, quiet=quiet)
    return ByMeaning(partial(meant, settings, os.environ, asks, faq.texts(), log), partial(keep_log, settings, log=log))


@contextmanager
def _progress(wishes: Wishes) -> Iterator[Callable[[int], None]]:
    """A bar where stderr is a terminal, else nothing; what is yielded takes how many requests there are so far."""
    if wishes.quiet or not sys.stderr.isatty():
        yield lambda taken: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("requests"))
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        bar = progress.add_task("thirty days", total=wishes.requests)
        yield lambda taken: progress.update(bar, completed=taken)


def stop_signals() -> "asyncio.Event":
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def unless_stopped(work: Coroutine[Any, Any, None], stop: "asyncio.Event") -> bool:
    """Whether the work came to its end before the stop; raises what the work raises."""
    import asyncio

    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working not in done:
        working.cancel()
        return False
    working.result()
    return True


async def _played(wishes: Wishes, scene: "Stage", player: "Player", screen: "Screen", settings: "Settings", stop: "asyncio.Event") -> bool:
    """Live traffic until the time is over or somebody stops it; returns whether it was stopped. Raises `StageError`."""
    import asyncio

    from penstock.demo.questions import calls

    playing = asyncio.create_task(player.play(calls(wishes.seed)))
    try:
        await _watch(wishes, scene, player, screen, settings, stop)
    finally:
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
    interrupted = stop.is_set()
    await player.settle(LAST_ANSWERS_S)
    scene.check()
    return interrupted


async def _watch(wishes: Wishes, scene: "Stage", player: "Player", screen: "Screen", settings: "Settings", stop: "asyncio.Event") -> None:
    """Returns when the time is over or `stop` is set; draws what is played meanwhile where there is a terminal. Raises `StageError`."""
    import asyncio
    from contextlib import nullcontext

    from penstock.cli.cost import cost_figures
    from penstock.finops.window import iso

    loop = asyncio.get_running_loop()
    until = None if wishes.seconds is None else loop.time() + wishes.seconds
    since = iso(player.began_ns)
    with screen.drawing() if wishes.live else nullcontext() as draw:
        while not stop.is_set() and (until is None or loop.time() < until):
            scene.check()
            if draw is not None:
                if not sys.stdout.isatty():  # closed; a `make` above us takes the hang-up for itself
                    stop.set()
                    break
                draw(await asyncio.to_thread(cost_figures, settings, by=BY, since=since), player.tally)
            pause = REFRESH_S if until is None else min(REFRESH_S, max(until - loop.time(), 0))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)


def _browse(address: str) -> None:
    """Beside the demo: some browsers hold whoever opens them until they are closed."""
    import threading
    import webbrowser

    def browse() -> None:
        if not webbrowser.open(address):
            say(f"no browser could be opened: the console is at {address}")

    threading.Thread(target=browse, daemon=True).start()


def _print(report: "CostReport", json: bool, live: bool) -> None:
    from penstock.cli.cost_table import print_report
    from penstock.finops.costs import report_json

    if json:
        print_json(report_json(report))
        return
    if live:
        sys.stdout.write("Northwater, a fictional firm: what its AI traffic cost, by team\n\n")
    print_report(report, sys.stdout)
