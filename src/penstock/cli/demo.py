"""`penstock demo`: a fictional firm's traffic on a real gateway with simulated engines, and what it costs, live."""

import io
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import START, JsonOption, QuietOption
from penstock.cli.output import FINE, INTERRUPTED, CommandError, print_json, say, stdout_console

if TYPE_CHECKING:
    import asyncio

    from rich.console import RenderableType

    from penstock.demo.player import Player
    from penstock.demo.stage import Stage
    from penstock.finops.costs import CostReport

DEFAULT_SECONDS = 12.0
REFRESH_S = 0.5
LAST_ANSWERS_S = 3.0
BY = ("team",)


def register(app: typer.Typer) -> None:
    app.command("demo", rich_help_panel=START)(demo)


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(help="Stop after this long. [default: until Ctrl-C; 12 when stdout is not a terminal]", metavar="N", min=0.1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another traffic.", metavar="N", min=0)] = 7,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show money moving: a fictional firm, two simulated engines, a real gateway and ledger.

    Needs no key and no GPU, and leaves nothing behind.
    """
    import asyncio

    from penstock.demo.stage import StageError

    live = sys.stdout.isatty() and not json
    if seconds is None and not live:
        seconds = DEFAULT_SECONDS
    try:
        report, interrupted = asyncio.run(_run(seconds, seed, live, quiet))
    except StageError as error:
        raise CommandError(str(error), error.hint) from None
    if report is None:
        return INTERRUPTED
    _print(report, json, live)
    say("that was the demo; it left nothing behind. Your own traffic: penstock init, then penstock serve", quiet)
    return INTERRUPTED if interrupted and seconds is not None else FINE


async def _run(seconds: float | None, seed: int, live: bool, quiet: bool) -> "tuple[CostReport | None, bool]":
    """Plays until the time is over or somebody stops it; returns the last report (None: not even started) and whether it was stopped."""
    import asyncio

    from penstock.demo.firm import calls
    from penstock.demo.player import Player

    stop = _stop_signals()
    say("starting a gateway and two simulated engines in a temporary directory ...", quiet)
    async with _stage(seed) as scene:
        player = Player(scene.host, scene.port)
        if not await _unless_stopped(scene.wait_until_ready(player.ready), stop):
            return None, True
        if not live:
            say(f"playing a fictional firm's traffic against {scene.address} for {seconds:g} s ...", quiet)
        playing = asyncio.create_task(player.play(calls(seed)))
        try:
            await _watch(scene, player, stop, seconds, live)
        finally:
            playing.cancel()
            with suppress(asyncio.CancelledError):
                await playing
        interrupted = stop.is_set()
        await player.settle(LAST_ANSWERS_S)
        scene.check()
        return await asyncio.to_thread(_figures(scene)), interrupted


@asynccontextmanager
async def _stage(seed: int) -> AsyncIterator["Stage"]:
    """The stage, cleared to the last: the controller's socket is elsewhere when the path of the directory is long."""
    from penstock.bootstrap import controller_socket
    from penstock.config.load import load
    from penstock.demo.stage import stage

    leftover: Path | None = None
    try:
        async with stage(seed) as scene:
            leftover = Path(controller_socket(load(scene.config, {})))
            yield scene
    finally:
        if leftover is not None:
            leftover.unlink(missing_ok=True)


def _stop_signals() -> "asyncio.Event":
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _unless_stopped(work: Coroutine[Any, Any, None], stop: "asyncio.Event") -> bool:
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


def _figures(scene: "Stage") -> "Callable[[], CostReport]":
    """The figures of `penstock cost --by team`, by the same function, on the demo's ledger."""
    from penstock.cli.cost import cost_figures
    from penstock.config.load import load

    settings = load(scene.config, {})
    return lambda: cost_figures(settings, by=BY)


async def _watch(scene: "Stage", player: "Player", stop: "asyncio.Event", seconds: float | None, live: bool) -> None:
    """Returns when the time is over or `stop` is set; draws the table meanwhile where there is a terminal. Raises `StageError`."""
    import asyncio
    from contextlib import nullcontext

    from rich.live import Live

    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    figures = _figures(scene)
    with Live(console=stdout_console(), auto_refresh=False, transient=True) if live else nullcontext() as screen:
        while not stop.is_set() and (until is None or loop.time() < until):
            scene.check()
            if screen is not None:
                report = await asyncio.to_thread(figures)
                screen.update(_view(report, scene, player), refresh=True)
            pause = REFRESH_S if until is None else min(REFRESH_S, max(until - loop.time(), 0))
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue


class _TerminalText(io.StringIO):
    """Takes the text that a terminal would get."""

    def isatty(self) -> bool:
        return True


def _view(report: "CostReport", scene: "Stage", player: "Player") -> "RenderableType":
    """The table as `penstock cost` prints it on a terminal, and under it what else can be done here."""
    from rich.console import Group
    from rich.text import Text

    from penstock.cli.cost_table import print_report

    drawn = _TerminalText()
    print_report(report, drawn)
    tally = player.tally
    lines = [
        "",
        f"gateway:  {scene.address}/v1, simulated engines behind it; {tally.sent:,} sent, {tally.failed:,} failed",
        *([f"failure:  {tally.last_failure}"] if tally.last_failure else []),
        "yours:    penstock init, then penstock serve",
        "try it:   watch the team `you` appear (Ctrl-C ends the demo)",
    ]
    curl = (
        f"curl {scene.address}/v1/chat/completions \\\n  -H 'penstock-tag-team: you' \\\n"
        """  -d '{"model":"auto","messages":[{"role":"user","content":"hello"}]}'"""
    )
    title = Text("Northwater, a fictional firm: what its AI traffic costs, by team", style="bold")
    return Group(title, Text(), Text.from_ansi(drawn.getvalue()), Text("\n".join(lines), style="dim"), Text(curl))


def _print(report: "CostReport", json: bool, live: bool) -> None:
    from penstock.cli.cost_table import print_report
    from penstock.finops.costs import report_json

    if json:
        print_json(report_json(report))
        return
    if live:
        sys.stdout.write("Northwater, a fictional firm: what its AI traffic cost, by team\n\n")
    print_report(report, sys.stdout)
