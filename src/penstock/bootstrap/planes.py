"""The running planes, wired: data workers and the controller, each until it is asked to stop."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import allocator, open_costs, open_keys, open_reading, runs_of, sealer, usage_store
from penstock.bootstrap.meters import collector
from penstock.bootstrap.prices import price_book, price_feed
from penstock.config.secrets import reveal
from penstock.config.settings import Settings, Upstream

if TYPE_CHECKING:
    from penstock.adapters.upstreams.api import ApiUpstream
    from penstock.console.access import Access
    from penstock.domain.prices.hardware import Steps
    from penstock.finops.chores import Chores
    from penstock.gateway.gateway import Gateway
    from penstock.ports.cache import Cache
    from penstock.ports.traces import Traces
    from penstock.ports.usage_store import UsageStore

MAX_UNIX_PATH = 100
GC_THRESHOLD = (20_000, 20, 50)
"""requests make hardly any reference cycles; the default of 700 spends 5 % of a worker's time looking for them"""


def controller_socket(settings: Settings) -> str:
    """Where the controller of this journal listens: beside it, or in the temporary directory when that path is too long."""
    path = Path(settings.server.journal).absolute() / "controller.sock"
    if len(str(path)) <= MAX_UNIX_PATH:
        return str(path)
    return str(Path(gettempdir()) / f"penstock-{blake2b(str(path).encode(), digest_size=12).hexdigest()}.sock")


def log(message: str) -> None:
    """Tells the operator, on stderr; where that cannot be written (the full disk itself, a closed pipe) the work goes on."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def run_worker(settings: Settings, environ: Mapping[str, str], sock: socket.socket, name: str) -> None:
    """One data worker, until SIGTERM."""
    import uvloop

    uvloop.run(_worker(settings, environ, sock, name))


async def _worker(settings: Settings, environ: Mapping[str, str], sock: socket.socket, name: str) -> None:
    from penstock.gateway.controller_link import ControllerLink
    from penstock.gateway.worker import run_worker
    from penstock.wire.client import Address, Pool, Timeouts

    gateway = _gateway(settings, environ, name)
    _settle_memory()
    pool = Pool(Address(unix_path=controller_socket(settings)), Timeouts(connect=1.0, first=60.0, idle=60.0), settings.server.max_answer)
    await run_worker(gateway, ControllerLink(pool), sock, _stop_on_signal(), name)


def _settle_memory() -> None:
    """What is loaded now lives for ever: later collections need not walk it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _gateway(settings: Settings, environ: Mapping[str, str], name: str) -> "Gateway":
    from penstock.adapters.journal.files import FileJournal
    from penstock.domain.routing.rules import RuleBook, RuleLaw
    from penstock.gateway.gateway import Counters, Gateway
    from penstock.gateway.keys import KeyRing
    from penstock.gateway.speech import Speech
    from penstock.gateway.targets import Targets
    from penstock.gateway.upstreams import Upstreams

    plugs = {key: upstream(key, given, environ, settings.server.max_answer) for key, given in settings.upstreams.items()}
    baseline = settings.server.baseline
    return Gateway(
        settings=settings,
        targets=Targets(settings),
        rules=RuleBook([RuleLaw(rule.where, rule.only) for rule in settings.rules]),
        prices=price_book(settings),
        keys=KeyRing(lambda: open_keys(settings).all(), log),
        cache=_cache(settings),
        upstreams=Upstreams(
            plugs,
            {key: upstream.retries for key, upstream in settings.upstreams.items()},
            {key: upstream.stream_usage == "auto" for key, upstream in settings.upstreams.items()},
        ),
        speech=Speech(settings.upstreams),
        journal=FileJournal(settings.server.journal, name, settings.server.fsync),
        log=log,
        counters=Counters(),
        baseline=settings.tiers[baseline].model if baseline is not None else None,
    )


def upstream(name: str, given: Upstream, environ: Mapping[str, str], max_answer: int) -> "ApiUpstream":
    """An upstream of the config, plugged in. Raises `ConfigError` when its secret is not set."""
    from penstock.adapters.upstreams.api import VERSION, ApiReplica, ApiUpstream, credential
    from penstock.wire.client import Timeouts

    key = reveal(given.api_key, environ, f"upstreams.{name}.api_key") if given.api_key is not None else None
    limits = given.timeout
    timeouts = Timeouts(limits.connect, limits.first_token, limits.idle)
    answer_s = limits.answer if limits.answer is not None else 5 * limits.first_token
    shown, demanded = credential(given.kind, key), VERSION if given.kind == "anthropic" else None
    replicas = [ApiReplica(url, shown, timeouts, answer_s, max_answer, given.ca_file, demanded) for url in given.base_urls]
    return ApiUpstream(name, replicas)


def _cache(settings: Settings) -> "Cache | None":
    from penstock.adapters.caches.memory import MemoryCache

    exact = settings.cache.exact
    return MemoryCache(exact.max_bytes // settings.server.workers) if exact.enabled else None


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


def run_controller(settings: Settings, environ: Mapping[str, str]) -> None:
    """The controller of this host, until SIGTERM."""
    import uvloop

    uvloop.run(_controller(settings, environ))


async def _controller(settings: Settings, environ: Mapping[str, str]) -> None:
    from penstock import __version__
    from penstock.adapters.journal.reader import JournalDirectory
    from penstock.console.app import Console
    from penstock.finops.controller import Controller
    from penstock.finops.live import Tail
    from penstock.finops.metrics import MetricsAggregator
    from penstock.finops.momentary import Momentary
    from penstock.finops.recording import Recorder

    traces, tail, runs = open_traces(settings, environ), Tail(), runs_of(settings, log)
    store = usage_store(settings)  # not prepared: a database that is away must not keep the pages from being served
    controller = Controller(
        JournalDirectory(settings.server.journal),
        store,
        MetricsAggregator(settings.tags.declared, __version__, providers=providers(settings)),
        log,
        traces=traces,
        also=Momentary(settings.fleets, traces),
        tail=tail,
        chores=_chores(settings, environ, store, runs),
    )
    console = Console(
        settings, lambda: open_reading(settings), lambda: price_book(settings), runs=runs,
        price_source=_price_source(settings), gauges=controller.gauges, tail=tail, access=_access(settings, environ), log=log,
        record=Recorder(settings, lambda: open_reading(settings), lambda: open_costs(settings)),
    )  # fmt: skip
    controller.pages = console.answer
    path = controller_socket(settings)
    Path(path).unlink(missing_ok=True)
    _settle_memory()
    try:
        await controller.run(path, _stop_on_signal())
    finally:
        if traces is not None:
            traces.close()
        Path(path).unlink(missing_ok=True)
        gc.unfreeze()  # DuckDB's bindings complain of every object that the interpreter may not take down


def _chores(settings: Settings, environ: Mapping[str, str], store: "UsageStore", runs: "Callable[[str], Steps | None]") -> "Chores":
    """Prices that may be used are kept, meters read, hours closed, old days sealed: in this order."""
    from penstock.finops.chores import Chores, PriceKeeper

    closing = allocator(settings, store, runs)
    duties = (
        PriceKeeper(price_book(settings), open_costs(settings)),
        collector(settings, environ, store, log, closing.observe_readings),
        closing,
        sealer(settings, store, log),
    )
    return Chores([duty for duty in duties if duty is not None], log)


def _access(settings: Settings, environ: Mapping[str, str]) -> "Access":
    """Who may look at the console. Raises `ConfigError` when the admin key is not set."""
    from penstock.console.access import Access

    key = settings.auth.admin_key
    return Access(None if key is None else reveal(key, environ, "auth.admin_key"), settings.server.listen)


def _price_source(settings: Settings) -> str:
    """Where prices come from, by name and version, without loading them."""
    feed = price_feed()
    own = [Path(settings.server.prices).name] if settings.server.prices else []
    return ", then ".join(["the config", *own, f"{feed.name} {feed.version}"])


def _stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM, by SIGINT, and when the supervisor's end of the life-line (stdin) closes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), _life_line, loop, stop.set)
    return stop


def _life_line(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop()
