"""The one place where plugs meet sockets: settings in, wired planes out. Heavy imports happen where they are needed."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from penstock.config.secrets import reveal
from penstock.config.settings import Settings, Upstream

if TYPE_CHECKING:
    from penstock.adapters.feeds.overrides import Overrides
    from penstock.adapters.upstreams.api import ApiUpstream
    from penstock.config.settings import Model
    from penstock.console.access import Access
    from penstock.domain.prices.book import Offer, PriceBook
    from penstock.gateway.gateway import Gateway
    from penstock.ports.cache import Cache
    from penstock.ports.journal import JournalReader
    from penstock.ports.key_store import KeyStore
    from penstock.ports.price_feed import PriceFeed
    from penstock.ports.traces import Traces
    from penstock.ports.usage_store import Snapshot, UsageStore

MAX_UNIX_PATH = 100
GC_THRESHOLD = (20_000, 20, 50)
"""requests make hardly any reference cycles; the default of 700 spends 5 % of a worker's time looking for them"""


def open_store(settings: Settings) -> "UsageStore":
    """The store of the ledger, schema in place. Raises `StoreError`."""
    from penstock.adapters.stores import open_store

    store = open_store(settings.server.store)
    store.prepare()
    return store


def open_keys(settings: Settings) -> "KeyStore":
    """The key store. Raises `StoreError`."""
    from penstock.adapters.stores import open_keys

    return open_keys(settings.server.store)


@contextmanager
def open_reading(settings: Settings) -> Iterator[tuple["Snapshot", "JournalReader"]]:
    """A consistent view of the store and the journal beside it, for reports. Raises `StoreError`."""
    from penstock.adapters.journal.reader import JournalDirectory
    from penstock.adapters.stores import open_store

    store = open_store(settings.server.store, read_only=True)
    try:
        with store.snapshot() as snapshot:
            yield snapshot, JournalDirectory(settings.server.journal)
    finally:
        store.close()


def controller_socket(settings: Settings) -> str:
    """Where the controller of this journal listens: beside it, or in the temporary directory when that path is too long."""
    path = Path(settings.server.journal).absolute() / "controller.sock"
    if len(str(path)) <= MAX_UNIX_PATH:
        return str(path)
    return str(Path(gettempdir()) / f"penstock-{blake2b(str(path).encode(), digest_size=12).hexdigest()}.sock")


def price_feed() -> "PriceFeed":
    """The public price book."""
    from penstock.adapters.feeds.genai_prices import GenaiPrices

    return GenaiPrices()


def price_book(settings: Settings) -> "PriceBook":
    """The price of every configured model, in the order of precedence. Raises `UnitError` or `OSError` for prices that cannot be read."""
    from penstock.adapters.feeds.overrides import read_overrides
    from penstock.domain.prices.book import PriceBook

    feed = price_feed()
    overrides = read_overrides(Path(settings.server.prices)) if settings.server.prices else None
    return PriceBook({name: list(_offers(settings, name, model, feed, overrides)) for name, model in settings.models.items()})


def _offers(settings: Settings, name: str, model: "Model", feed: "PriceFeed", overrides: "Overrides | None") -> "Iterator[Offer]":
    """What each source says of a model; ends at the first price, so that the public book is only loaded when it is needed."""
    from penstock.config.fleets import fleet_plan
    from penstock.domain.prices.book import Offer
    from penstock.domain.prices.config_price import fleet_gap, fleet_schedule, rates_from_config
    from penstock.domain.prices.schedule import constant

    if model.price is not None:
        table = {key: getattr(model.price, key) for key in model.price.__struct_fields__}
        yield Offer(constant(rates_from_config(name, table)), "by the config's `price`")
        return
    yield Offer(None, "the config gives no price")
    plans = [fleet_plan(key, fleet) for key, fleet in settings.fleets.items() if fleet.upstream == model.upstream]
    schedule, gap = fleet_schedule(plans), fleet_gap(plans)
    names = ", ".join(f"`{plan.name}`" for plan in plans)
    yield Offer(schedule, gap or f"by fleet {names}: its hourly price over its planned work, an estimate until the hour is closed")
    if schedule is None:
        yield _public_offer(settings, name, model, feed, overrides)


def _public_offer(settings: Settings, name: str, model: "Model", feed: "PriceFeed", overrides: "Overrides | None") -> "Offer":
    from penstock.domain.prices.book import Offer
    from penstock.domain.prices.schedule import overlay

    upstream, called = settings.upstreams.get(model.upstream), model.name or name
    if upstream is None:
        return Offer(None, f"there is no upstream `{model.upstream}`")
    provider = upstream.provider
    if provider is None and upstream.base_urls:
        found = {feed.provider_of(url) for url in upstream.base_urls}
        provider = found.pop() if len(found) == 1 else None
    own = None
    if overrides is not None:
        own = overrides.schedule(None, name) or (overrides.schedule(provider, called) if provider else None)
    public = feed.schedule(provider, called) if provider else None
    if own is not None:
        before = f", before that by {feed.name} {feed.version}" if public else ""
        return Offer(overlay(public, own), f"by `{overrides.source if overrides else ''}`{before}")
    if provider is None:
        return Offer(None, f"its upstream `{model.upstream}` has no provider")
    if public is not None:
        return Offer(public, f"by {feed.name} {feed.version} as {public.rates[-1].id.partition(':')[2]}")
    nearest = feed.nearest(provider, called)
    known = f" (it knows {', '.join(nearest)})" if nearest else ""
    return Offer(None, f"{feed.name} {feed.version} has no price per token for {provider}/{called}{known}")


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
    from penstock.adapters.stores import open_store
    from penstock.console.app import Console
    from penstock.finops.controller import Controller
    from penstock.finops.live import Tail
    from penstock.finops.metrics import MetricsAggregator
    from penstock.finops.momentary import Momentary

    traces, tail = open_traces(settings, environ), Tail()
    controller = Controller(
        JournalDirectory(settings.server.journal),
        open_store(settings.server.store),  # not prepared: a database that is away must not keep the pages from being served
        MetricsAggregator(settings.tags.declared, __version__, providers=providers(settings)),
        log,
        traces=traces,
        also=Momentary(settings.fleets, traces),
        tail=tail,
    )
    console = Console(
        settings, lambda: open_reading(settings), lambda: price_book(settings),
        price_source=_price_source(settings), gauges=controller.gauges, tail=tail, access=_access(settings, environ), log=log,
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
