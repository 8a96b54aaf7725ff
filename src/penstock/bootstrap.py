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
    from penstock.adapters.upstreams.openai import OpenAIUpstream
    from penstock.config.settings import Fleet, Model
    from penstock.domain.prices.book import Offer, PriceBook
    from penstock.domain.prices.config_price import FleetPlan
    from penstock.gateway.gateway import Gateway
    from penstock.ports.cache import Cache
    from penstock.ports.journal import JournalReader
    from penstock.ports.key_store import KeyStore
    from penstock.ports.price_feed import PriceFeed
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
    from penstock.domain.prices.book import Offer
    from penstock.domain.prices.config_price import fleet_gap, fleet_schedule, rates_from_config
    from penstock.domain.prices.schedule import constant

    if model.price is not None:
        table = {key: getattr(model.price, key) for key in model.price.__struct_fields__}
        yield Offer(constant(rates_from_config(name, table)), "by the config's `price`")
        return
    yield Offer(None, "the config gives no price")
    plans = [_fleet_plan(key, fleet) for key, fleet in settings.fleets.items() if fleet.upstream == model.upstream]
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


def _fleet_plan(name: str, fleet: "Fleet") -> "FleetPlan":
    from datetime import date
    from fractions import Fraction

    from penstock.domain.prices.config_price import FleetPlan, always, exact, usd_per_hour
    from penstock.domain.prices.schedule import midnight_ns
    from penstock.domain.units import Rate

    dated: list[tuple[str | None, str]] = []
    if isinstance(fleet.price, str):
        dated = [(None, fleet.price)]
    elif fleet.price is not None:
        dated = [(entry.from_, entry.price) for entry in fleet.price]
    if fleet.mig is not None:  # `count` counts slices, so a price of the whole GPU does not say what one costs
        dated = [(start, price) for start, price in dated if Rate.parse(price).per != "gpu-hour"]
    hourly: tuple[tuple[int, Fraction], ...] = ()
    for start, price in dated:
        usd = usd_per_hour(price)
        hourly += always(usd) if start is None else ((midnight_ns(date.fromisoformat(start)), usd),)
    planned = fleet.planned_tokens_per_second
    return FleetPlan(name, hourly, fleet.count, None if planned is None else exact(planned, "planned_tokens_per_second"))


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
    pool = Pool(Address(unix_path=controller_socket(settings)), Timeouts(connect=1.0, first=10.0, idle=10.0), settings.server.max_answer)
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
        journal=FileJournal(settings.server.journal, name, settings.server.fsync),
        log=log,
        counters=Counters(),
        baseline=settings.tiers[baseline].model if baseline is not None else None,
    )


def upstream(name: str, given: Upstream, environ: Mapping[str, str], max_answer: int) -> "OpenAIUpstream":
    """An upstream of the config, plugged in. Raises `ConfigError` when its secret is not set."""
    from penstock.adapters.upstreams.openai import OpenAIReplica, OpenAIUpstream
    from penstock.wire.client import Timeouts

    key = reveal(given.api_key, environ, f"upstreams.{name}.api_key") if given.api_key is not None else None
    limits = given.timeout
    timeouts = Timeouts(limits.connect, limits.first_token, limits.idle)
    answer_s = limits.answer if limits.answer is not None else 5 * limits.first_token
    replicas = [OpenAIReplica(url, key, timeouts, answer_s, max_answer, given.ca_file) for url in given.base_urls]
    return OpenAIUpstream(name, replicas)


def _cache(settings: Settings) -> "Cache | None":
    from penstock.adapters.caches.memory import MemoryCache

    exact = settings.cache.exact
    return MemoryCache(exact.max_bytes // settings.server.workers) if exact.enabled else None


def run_controller(settings: Settings) -> None:
    """The controller of this host, until SIGTERM."""
    import uvloop

    uvloop.run(_controller(settings))


async def _controller(settings: Settings) -> None:
    from penstock import __version__
    from penstock.adapters.journal.reader import JournalDirectory
    from penstock.adapters.stores import open_store
    from penstock.finops.controller import Controller
    from penstock.finops.metrics import MetricsAggregator

    providers = {name: upstream.provider for name, upstream in settings.upstreams.items() if upstream.provider}
    controller = Controller(
        JournalDirectory(settings.server.journal),
        open_store(settings.server.store),  # not prepared: a database that is away must not keep the pages from being served
        MetricsAggregator(settings.tags.declared, __version__, providers=providers),
        log,
    )
    path = controller_socket(settings)
    Path(path).unlink(missing_ok=True)
    _settle_memory()
    try:
        await controller.run(path, _stop_on_signal())
    finally:
        Path(path).unlink(missing_ok=True)


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
