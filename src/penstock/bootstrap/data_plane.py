"""The data plane of a process, wired: one worker with its gateway, until it is asked to stop."""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.bootstrap.caching import open_cache, open_meaning
from penstock.bootstrap.checking import open_checks
from penstock.bootstrap.ledger import open_keys
from penstock.bootstrap.prices import price_book
from penstock.bootstrap.processes import controller_socket, log, settle_memory, stop_on_signal
from penstock.bootstrap.routing import open_shadows
from penstock.bootstrap.spending import open_spending
from penstock.config.checks_spending import is_cap
from penstock.config.secrets import reveal
from penstock.config.settings import Settings, Upstream

if TYPE_CHECKING:
    from penstock.adapters.upstreams.api import ApiUpstream
    from penstock.gateway.gateway import Gateway


def run_worker(settings: Settings, environ: Mapping[str, str], sock: socket.socket, name: str) -> None:
    """One data worker, until SIGTERM."""
    import uvloop

    uvloop.run(_worker(settings, environ, sock, name))


async def _worker(settings: Settings, environ: Mapping[str, str], sock: socket.socket, name: str) -> None:
    from penstock.gateway.controller_link import ControllerLink
    from penstock.gateway.worker import run_worker
    from penstock.wire.client import Address, Pool, Timeouts

    gateway = _gateway(settings, environ, name)
    settle_memory()
    pool = Pool(Address(unix_path=controller_socket(settings)), Timeouts(connect=1.0, first=60.0, idle=60.0), settings.server.max_answer)
    await run_worker(gateway, ControllerLink(pool), sock, stop_on_signal(), name)


def _gateway(settings: Settings, environ: Mapping[str, str], name: str) -> "Gateway":
    from penstock.adapters.journal.files import FileJournal
    from penstock.domain.routing.rules import RuleBook, RuleLaw
    from penstock.gateway.gateway import Counters, Gateway
    from penstock.gateway.keys import KeyRing
    from penstock.gateway.lanes import Lanes
    from penstock.gateway.speech import Speech
    from penstock.gateway.targets import Targets
    from penstock.gateway.upstreams import Upstreams

    spending = open_spending(settings, name, log)
    plugs = {key: upstream(key, given, environ, settings.server.max_answer) for key, given in settings.upstreams.items()}
    baseline = settings.server.baseline
    return Gateway(
        settings=settings,
        targets=Targets(settings),
        rules=RuleBook([RuleLaw(rule.where, rule.only) for rule in settings.rules]),
        prices=price_book(settings),
        keys=KeyRing(lambda: open_keys(settings).all(), log),
        cache=open_cache(settings, log),
        upstreams=Upstreams(
            plugs,
            {key: upstream.retries for key, upstream in settings.upstreams.items()},
            {key: upstream.stream_usage == "auto" for key, upstream in settings.upstreams.items()},
        ),
        lanes=Lanes(settings.upstreams, settings.queue, settings.server.workers),
        speech=Speech(settings.upstreams),
        journal=FileJournal(settings.server.journal, name, settings.server.fsync),
        log=log,
        counters=Counters(refused=dict.fromkeys((budget.name for budget in settings.budgets if is_cap(budget)), 0)),
        baseline=settings.tiers[baseline].model if baseline is not None else None,
        name=name,
        purses=spending.purses,
        caps=spending.caps,
        rates=spending.rates,
        meaning=open_meaning(settings, environ, name, plugs, log),
        checks=open_checks(settings, log),
        shadows=open_shadows(settings, log),
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
