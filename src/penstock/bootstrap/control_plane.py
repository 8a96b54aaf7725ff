"""The control plane of a host, wired: intake, chores, budgets, console, until it is asked to stop."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.bootstrap.answers import open_feedback
from penstock.bootstrap.audit import access_of, console_tables, open_papers
from penstock.bootstrap.caching import wanting
from penstock.bootstrap.chores import Duties, open_duties
from penstock.bootstrap.ledger import open_reading, runs_of, usage_store
from penstock.bootstrap.objectives import open_directives
from penstock.bootstrap.prices import price_book, price_feed
from penstock.bootstrap.processes import controller_socket, log, settle_memory, stop_on_signal
from penstock.bootstrap.routing import open_route_feedback
from penstock.bootstrap.simulation_child import Simulations
from penstock.bootstrap.spending import open_keeper
from penstock.config.secrets import reveal
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.console.app import Console
    from penstock.console.context import Papers
    from penstock.console.feedback import AnswerFeedback
    from penstock.finops.controller import Controller, Pages
    from penstock.ports.cache_truth import CacheTruth
    from penstock.ports.traces import Traces
    from penstock.wire.message import Request
    from penstock.wire.responder import Responder


def run_controller(settings: Settings, environ: Mapping[str, str]) -> None:
    """The controller of this host, until SIGTERM."""
    import uvloop

    uvloop.run(_controller(settings, environ))


def _papers(settings: Settings, environ: Mapping[str, str], truth: "CacheTruth | None") -> "Papers":
    """What the console reads beside the ledger. What the semantic cache wants is looked for once, as workers do when they start."""
    lacking = wanting(settings, environ)
    off = None if lacking is None else ": ".join(filter(None, (str(lacking), lacking.hint)))
    return msgspec.structs.replace(open_papers(settings), truth=truth, meaning_off=off)


async def _controller(settings: Settings, environ: Mapping[str, str]) -> None:
    from penstock import __version__
    from penstock.adapters.journal.reader import JournalDirectory
    from penstock.console.app import Console
    from penstock.console.feedback import AnswerFeedback
    from penstock.finops.controller import Controller
    from penstock.finops.live import Tail
    from penstock.finops.metrics import MetricsAggregator
    from penstock.finops.momentary import Momentary, together

    traces, tail, runs = open_traces(settings, environ), Tail(), runs_of(settings, log)
    access = access_of(settings, environ)
    simulations = Simulations(settings)
    posts, reads = console_tables(settings, access, simulations)
    store = usage_store(settings)  # not prepared: a database that is away must not keep the pages from being served
    journal = JournalDirectory(settings.server.journal)
    duties = open_duties(settings, environ, store, runs)
    controller = Controller(
        journal,
        store,
        MetricsAggregator(settings.tags.declared, __version__, providers=providers(settings)),
        log,
        traces=traces,
        also=together(Momentary(settings.fleets, traces), *duties.gauges),
        tail=tail,
        chores=duties.chores,
        directives=open_directives(settings).standing if settings.slos else None,
        policies=duties.routed.policies if duties.routed is not None else None,
        refuse_metrics=access.metrics_refused,
        observers=duties.observers,
    )
    console = Console(
        settings, lambda: open_reading(settings), lambda: price_book(settings), runs=runs,
        price_source=_price_source(settings), gauges=controller.gauges, tail=tail, access=access,
        papers=_papers(settings, environ, duties.truth), log=log, posts=posts, reads=reads,
    )  # fmt: skip
    routed = None if duties.routed is None else open_route_feedback(settings, duties.routed.told)
    controller.pages = _pages(console, AnswerFeedback(open_feedback(settings, duties.answers, routed), log))
    path = controller_socket(settings)
    Path(path).unlink(missing_ok=True)
    settle_memory()
    try:
        await _run(settings, controller, duties, simulations, journal.alive, path)
    finally:
        if traces is not None:
            traces.close()
        Path(path).unlink(missing_ok=True)
        gc.unfreeze()  # DuckDB's bindings complain of every object that the interpreter may not take down


def _pages(console: "Console", feedback: "AnswerFeedback") -> "Pages":
    """What callers say of answers has an address of its own; everything else is the console's."""

    async def answer(request: "Request", responder: "Responder") -> None:
        await (feedback if feedback.takes(request.path) else console).answer(request, responder)

    return answer


async def _run(
    settings: Settings, controller: "Controller", duties: "Duties", simulations: Simulations, alive: Callable[[], set[str]], path: str
) -> None:
    """Until it is asked to stop; the budgets are kept beside, and the lease is handed back at the end."""
    stop, keeper = stop_on_signal(), open_keeper(settings, alive, lambda: controller.passes, duties.leader.leads, log)
    duties.of_controller(controller)
    controller.may_be_ready = lambda: keeper.open
    keeping, ending = asyncio.create_task(keeper.run(stop)), asyncio.create_task(_ended(stop, simulations))
    duties.leader.start()
    try:
        await controller.run(path, stop)
    finally:
        ending.cancel()
        simulations.close()
        await asyncio.to_thread(duties.leader.close)
        await keeping
        if controller.delivered:
            await keeper.depart()


async def _ended(stop: asyncio.Event, simulations: Simulations) -> None:
    """At once, not after a simulation: what is in flight is waited for."""
    await stop.wait()
    simulations.close()


def open_traces(settings: Settings, environ: Mapping[str, str]) -> "Traces | None":
    """Where spans go; None where nobody asks for them. Raises `ConfigError` for a secret that is not set, `TracesError`."""
    from penstock.adapters.telemetry import open_traces
    from penstock.config.problems import join

    given = settings.telemetry
    if given.traces is None:
        return None
    headers = {
        name: value if isinstance(value, str) else reveal(value, environ, join("telemetry.headers", name))
        for name, value in given.headers.items()
    }
    return open_traces(given.traces, headers, providers(settings), log)


def providers(settings: Settings) -> dict[str, str]:
    """What OpenTelemetry calls the provider behind each upstream, where that is known."""
    by_kind = {"anthropic": "anthropic"}
    named = {name: upstream.provider or by_kind.get(upstream.kind) for name, upstream in settings.upstreams.items()}
    return {name: provider for name, provider in named.items() if provider}


def _price_source(settings: Settings) -> str:
    """Where prices come from, by name and version, without loading them."""
    feed = price_feed()
    own = [Path(settings.server.prices).name] if settings.server.prices else []
    return ", then ".join(["the config", *own, f"{feed.name} {feed.version}"])
