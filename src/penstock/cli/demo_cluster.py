"""`penstock demo --cluster`: two gateways on one PostgreSQL and one Redis, seen from both sides; one is killed, the other takes over."""

import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.cli.output import FAILED, FINE, INTERRUPTED, print_json, say, stdout_console

if TYPE_CHECKING:
    import asyncio

    from rich.table import Table

    from penstock.config.settings import Settings
    from penstock.demo.cluster import Cluster, Replica

DEFAULT_SECONDS = 40.0
KILL_AT_S = 10.0
REFRESH_S = 1.0
AGREE_S = 6.0
"""after the last answer, within which both must tell the same"""


class Wishes(NamedTuple):
    """What was asked for on the command line."""

    postgres: str
    redis: str
    seconds: float | None
    json: bool
    quiet: bool


class Story:
    """What happened: who led and was killed, how long nobody led."""

    def __init__(self) -> None:
        self.killed: str | None = None
        self.killed_at = 0.0
        self.took_over_s: float | None = None


def show(wishes: Wishes) -> int:
    """Plays until Ctrl-C, or for some seconds; prints what both said at last. Raises `StageError`."""
    import asyncio

    live = sys.stdout.isatty() and not wishes.json
    seconds = DEFAULT_SECONDS if wishes.seconds is None and not live else wishes.seconds
    say("starting: two gateways, one PostgreSQL, one Redis ...", wishes.quiet)
    return asyncio.run(_staged(wishes, seconds, live))


async def _staged(wishes: Wishes, seconds: float | None, live: bool) -> int:
    from penstock.bootstrap import controller_socket
    from penstock.config.load import load
    from penstock.demo.cluster import cluster

    with cluster(wishes.postgres, wishes.redis, lambda config: controller_socket(load(config, {}))) as scene:
        return await _played(scene, wishes, seconds, live)


async def _played(scene: "Cluster", wishes: Wishes, seconds: float | None, live: bool) -> int:
    import asyncio

    from penstock.cli.demo import stop_signals, unless_stopped
    from penstock.config.load import load
    from penstock.demo.cluster import quiet

    stop = stop_signals()
    if not await unless_stopped(scene.kept.wait_until_ready(scene.ready), stop):
        return INTERRUPTED
    for replica in scene.replicas:
        say(f"replica {replica.figures.name}: {replica.figures.address}  (config {replica.config})", wishes.quiet)
    settings, story = load(scene.replicas[0].config, {}), Story()
    playing = asyncio.create_task(scene.play())
    await _watch(scene, settings, story, seconds, stop, live)
    interrupted = stop.is_set()
    await quiet(playing, scene.replicas)
    agree = await _agreed(scene, settings, story)
    if wishes.json:
        print_json(_told(scene, story, agree))
    else:
        _print(scene, story, agree)
    say("that was the demo; it left nothing behind", wishes.quiet)
    if interrupted and seconds is not None:
        return INTERRUPTED
    return FINE if agree else FAILED


async def _watch(scene: "Cluster", settings: "Settings", story: Story, seconds: float | None, stop: "asyncio.Event", live: bool) -> None:
    """Looks every second, and kills the one that leads once; draws where there is a terminal. Raises `StageError`."""
    import asyncio

    from rich.live import Live

    loop = asyncio.get_running_loop()
    began = loop.time()
    with Live(console=stdout_console(), auto_refresh=False, transient=True) if live else nullcontext() as screen:
        while not stop.is_set() and (seconds is None or loop.time() < began + seconds):
            scene.kept.check()
            await _look(scene, settings, story)
            if story.killed is None and loop.time() > began + min(KILL_AT_S, (seconds or KILL_AT_S * 2) / 2):
                victim = next((each for each in scene.replicas if each.figures.leads), scene.replicas[0])
                story.killed, story.killed_at = victim.figures.name, loop.time()
                await asyncio.to_thread(victim.kill)
            if screen is not None:
                screen.update(_table(scene, story), refresh=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REFRESH_S)


async def _look(scene: "Cluster", settings: "Settings", story: Story) -> None:
    """The figures of both replicas, as each tells them, and who leads by the lease in the store."""
    import asyncio

    since = _midnight()
    await asyncio.gather(*(replica.look(since) for replica in scene.replicas))
    holder = await asyncio.to_thread(_holder, settings) or ""
    for replica in scene.replicas:
        replica.figures.leads = replica.figures.up and replica.is_host(holder)
    if (
        story.killed
        and story.took_over_s is None
        and any(each.figures.leads and each.figures.name != story.killed for each in scene.replicas)
    ):
        story.took_over_s = asyncio.get_running_loop().time() - story.killed_at


async def _agreed(scene: "Cluster", settings: "Settings", story: Story) -> bool:
    """Whether both tell the same once nothing is under way; what the killed one had not delivered is in as soon as it runs again."""
    import asyncio

    loop = asyncio.get_running_loop()
    until = loop.time() + AGREE_S
    while loop.time() < until:
        await _look(scene, settings, story)
        if scene.agree():
            return True
        await asyncio.sleep(REFRESH_S / 2)
    return False


def _midnight() -> str:
    """The day's begin in UTC; a demo that plays over midnight counts anew."""
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%d")


def _holder(settings: "Settings") -> str | None:
    from penstock import bootstrap
    from penstock.finops.leading import lease_holder

    return lease_holder(bootstrap.open_documents(settings))


def _rows(scene: "Cluster", story: Story) -> list[tuple[str, list[str]]]:
    from penstock.demo.cluster import CAP, CAP_USD

    def state(replica: "Replica") -> str:
        return "serves" if replica.figures.up else "killed" if replica.figures.name == story.killed else "does not answer"

    figures = [replica.figures for replica in scene.replicas]
    return [
        ("", [each.address for each in figures]),
        ("state", [state(replica) for replica in scene.replicas]),
        ("leads", ["yes" if each.leads else "no" for each in figures]),
        ("requests answered", [f"{each.answered:,}" for each in figures]),
        ("refused at the cap", [f"{each.refused:,}" for each in figures]),
        ("asked again here, cached there", [f"{each.recalled:,} of {each.asked_again:,}" for each in figures]),
        ("spent today, all teams, USD", [_usd(each.spent) for each in figures]),
        (f"of it {CAP}, capped at {CAP_USD}", [_usd(each.capped) for each in figures]),
    ]


def _usd(amount: Any) -> str:
    return "unknown" if amount is None else f"{amount:.9f}"


def _table(scene: "Cluster", story: Story) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), title_justify="left", title_style="bold", title=_title(story))
    table.add_column("as seen from", style="dim", no_wrap=True)
    for replica in scene.replicas:
        table.add_column(f"replica {replica.figures.name}", no_wrap=True, justify="right")
    for words, cells in _rows(scene, story):
        table.add_row(words, *cells)
    return table


def _title(story: Story) -> str:
    if story.killed is None:
        return "two gateways, one ledger, one cap, one cache; Ctrl-C stops it"
    took = "" if story.took_over_s is None else f"; the other led {story.took_over_s:.0f} s later"
    return f"replica {story.killed} was killed with -9{took}"


def _print(scene: "Cluster", story: Story, agree: bool) -> None:
    stdout_console().print(_table(scene, story))
    said = "both tell the same" if agree else "they do not tell the same: what a killed replica had not delivered comes when it runs again"
    sys.stdout.write(f"\n{said}\n")


def _told(scene: "Cluster", story: Story, agree: bool) -> dict[str, Any]:
    from penstock.demo.cluster import CAP_USD

    return {
        "replicas": [
            {
                "name": each.name, "answered": each.answered, "refused": each.refused, "failed": each.failed, "leads": each.leads,
                "asked_again": each.asked_again, "recalled": each.recalled, "spent_usd": _usd(each.spent), "capped_usd": _usd(each.capped),
            }
            for each in (replica.figures for replica in scene.replicas)
        ],
        "cap_usd": str(CAP_USD),
        "killed": story.killed,
        "took_over_s": None if story.took_over_s is None else round(story.took_over_s, 1),
        "agree": agree,
    }  # fmt: skip
