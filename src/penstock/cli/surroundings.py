"""What a configuration finds around it: prices, store, journal, port, upstreams. Nothing here is created or changed."""

import errno
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from penstock.cli.probe import Unreachable, models_of
from penstock.config.checks_server import endpoint, is_loopback
from penstock.config.problems import ConfigError, Problem, error, join, warning
from penstock.config.settings import Settings
from penstock.domain.units import UnitError
from penstock.ports.usage_store import StoreError

_SQLITE = "sqlite:///"
UNPRICED_WINDOW_NS = 30 * 86_400 * 10**9
UNPRICED_REQUESTS_HINT = "give the model a price; those requests stay unpriced, and reports say how many there are"
_CLASS_HINT = "give that class a price: `processing` of the model's `price`, or an entry with `processing` in your price file"


def price_findings(settings: Settings) -> tuple[list[Problem], dict[str, str]]:
    """Models without a price now, and for the others where it comes from."""
    from penstock import bootstrap
    from penstock.domain.prices.book import UNPRICED_HINT

    try:
        book, now = bootstrap.price_book(settings), time.time_ns()
    except (UnitError, OSError) as problem:
        text = f"{problem.filename}: {problem.strerror}".lower() if isinstance(problem, OSError) else str(problem)
        return [error("server.prices", text, "correct the file of your own prices, or remove the key")], {}
    found, sources = [], {}
    for name in settings.models:
        schedule = book.schedule(name)
        rates = schedule.at(now) if schedule is not None else None
        if rates is not None:
            sources[name] = f"{rates.id} ({rates.version})" + (", estimated" if rates.basis == "estimated" else "")
        else:
            text = book.why(name) if schedule is None else "unpriced: its first price begins later"
            found.append(error(join("models", name), text, UNPRICED_HINT))
    return found, sources


def ledger_findings(settings: Settings) -> list[Problem]:
    """Requests of the last 30 days that were answered without a price, by model and processing class. An absent ledger has none."""
    from penstock import bootstrap
    from penstock.domain.ledger.measures import CostQuery, unpriced_lines
    from penstock.finops.intake import pending
    from penstock.finops.ledger import Ledger
    from penstock.ports.journal import JournalError

    store, now = settings.server.store, time.time_ns()
    if store.startswith(_SQLITE) and not Path(store.removeprefix(_SQLITE)).exists() and not Path(settings.server.journal).is_dir():
        return []
    query = CostQuery(since_ns=now - UNPRICED_WINDOW_NS, until_ns=now, by=("model", "processing"))
    try:
        with bootstrap.open_reading(settings) as (snapshot, reader):
            groups = Ledger(snapshot, pending(reader, snapshot)).sums(query)
    except (StoreError, JournalError) as problem:
        return [warning("server.store", f"the ledger was not looked at: {problem}", problem.hint)]
    found = []
    for (model, processing), sums in sorted(groups, key=lambda group: -unpriced_lines(group[1])):
        if missing := unpriced_lines(sums):
            name, where = model or "unknown model", join("models", model) if model else "models"
            what = f"{missing:,} request{'s' * (missing != 1)} of `{name}`" + (f" of class `{processing}`" if processing else "")
            text = f"{what} answered unpriced in the last 30 days"
            found.append(error(where, text, _CLASS_HINT if processing else UNPRICED_REQUESTS_HINT))
    return found


def store_problems(settings: Settings) -> list[Problem]:
    """Whether the ledger can be kept where the settings say."""
    store = settings.server.store
    if not store.startswith(_SQLITE):
        return _reach(settings)
    file = Path(store.removeprefix(_SQLITE))
    if not file.exists():
        return _creatable("server.store", file.parent)
    if not (file.is_file() and os.access(file, os.R_OK | os.W_OK) and os.access(file.parent, os.W_OK)):
        return [error("server.store", f"{file} cannot be written", "make the file and its directory writable, or name another store")]
    return _reach(settings)


def shared_problems(settings: Settings) -> list[Problem]:
    """Whether what hosts share answers; only `serve` needs it."""
    import asyncio

    from penstock import bootstrap
    from penstock.ports.budget_book import BookError

    if settings.server.shared == "local://":
        return []
    try:
        asyncio.run(bootstrap.ask_book(settings))
    except BookError as problem:
        return [warning("server.shared", str(problem), problem.hint)]
    return []


def _reach(settings: Settings) -> list[Problem]:
    from penstock import bootstrap

    try:
        bootstrap.open_keys(settings).all()
    except StoreError as problem:
        return [error("server.store", str(problem), problem.hint)]
    return []


def notify_problems(settings: Settings) -> list[Problem]:
    """Whether messages could be sent from here; whether they arrive, `penstock budget test-alert` tells."""
    from penstock import bootstrap
    from penstock.config.secrets import missing_secrets

    try:
        bootstrap.open_notifiers(settings, os.environ)
    except ConfigError as found:
        told = {problem.where for problem in missing_secrets(settings, os.environ)}
        return [problem for problem in found.problems if problem.where not in told]
    return []


def telemetry_problems(settings: Settings) -> list[Problem]:
    """Whether traces could be sent from here; whether somebody takes them is not asked."""
    from penstock import bootstrap
    from penstock.config.problems import ConfigError
    from penstock.ports.traces import TracesError

    try:
        if (traces := bootstrap.open_traces(settings, os.environ)) is not None:
            traces.close()
    except TracesError as problem:
        return [error("telemetry.traces", str(problem), problem.hint)]
    except ConfigError:
        return []  # a secret that is not set: told among the missing ones
    return []


def journal_problems(settings: Settings) -> list[Problem]:
    """Whether data workers can write their journal."""
    return _creatable("server.journal", Path(settings.server.journal))


def _creatable(where: str, directory: Path) -> list[Problem]:
    """A directory that is writable, or could be made."""
    nearest = next(each for each in (directory, *directory.parents) if each.exists())
    if not nearest.is_dir():
        return [error(where, f"{nearest} is not a directory", "name another place, or move the file away")]
    if not os.access(nearest, os.W_OK | os.X_OK):
        return [error(where, f"{nearest} is not writable for this user", "change its rights, or name another place")]
    return []


def port_fact(settings: Settings) -> str:
    """Whether the address is free, in words: in use is no problem, for Penstock itself may be running."""
    host, port = endpoint(settings.server.listen)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as problem:
        return (
            f"{settings.server.listen} is in use" if problem.errno == errno.EADDRINUSE else f"{settings.server.listen}: {problem.strerror}"
        )
    return f"{settings.server.listen} is free"


def console_fact(settings: Settings) -> str:
    """Who may look at the console."""
    if settings.auth.admin_key is not None:
        return "for whoever knows the admin key"
    host, _ = endpoint(settings.server.listen)
    return "for this machine, without a key" if is_loopback(host) else "closed: the address is not loopback, and there is no admin key"


def file_problems(settings: Settings) -> Iterator[Problem]:
    """Files that the settings name and that cannot be read."""
    for name, upstream in settings.upstreams.items():
        if upstream.ca_file is not None and not os.access(upstream.ca_file, os.R_OK):
            yield error(f"{join('upstreams', name)}.ca_file", f"{upstream.ca_file} cannot be read", "name a PEM file, or remove the key")
    yield from _runs_findings(settings)


def _runs_findings(settings: Settings) -> Iterator[Problem]:
    """Files of running times that tell nothing: until they do, the rent of their fleets is unknown."""
    from penstock import bootstrap

    for name, fleet in settings.fleets.items():
        if fleet.runs in (None, "prometheus"):
            continue
        where = f"{join('fleets', name)}.runs"
        steps, problem = bootstrap.runs_file(settings, name)
        if problem is not None:
            yield error(where, problem, "write lines of `start,end,count`, or name a bill; until then the rent is unknown")
        elif steps is None:
            what = f"no row of `{fleet.where.instance}`" if fleet.where.instance else "no interval"
            yield error(where, f"{fleet.runs} has {what}", "until it has one, the rent of the fleet is unknown")


def upstream_findings(settings: Settings, environ: Mapping[str, str]) -> tuple[list[Problem], dict[str, str]]:
    """Every replica asked for its models: those that do not answer, and configured models that none of them lists."""
    found: list[Problem] = []
    answers: dict[str, str] = {}
    for name, upstream in settings.upstreams.items():
        key = environ.get(upstream.api_key.env) if upstream.api_key is not None else None
        listed: set[str] = set()
        for index, url in enumerate(upstream.base_urls):
            try:
                models = models_of(url, key, upstream.ca_file, anthropic=upstream.kind == "anthropic")
            except Unreachable as problem:
                hint = "start it, or correct its address or key"
                found.append(error(f"{join('upstreams', name)}.base_urls[{index}]", f"{url}: {problem}", hint))
                continue
            listed.update(models)
            answers[url] = f"{len(models)} models"
        found += _unlisted(settings, name, listed)
    return found, answers


def _unlisted(settings: Settings, upstream: str, listed: set[str]) -> Iterator[Problem]:
    for name, model in settings.models.items():
        called = model.name or name
        if listed and model.upstream == upstream and called not in listed:
            text = f"`{upstream}` does not list `{called}`"
            yield warning(f"{join('models', name)}.name", text, f"it lists {', '.join(sorted(listed)[:5])}")


def without_password(url: str) -> str:
    """A store's address as it may be printed."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def meter_findings(settings: Settings, environ: Mapping[str, str]) -> tuple[list[Problem], dict[str, str]]:
    """What the Prometheus of the config has of each fleet, and what keeps it from being read; nothing where none is named."""
    from penstock import bootstrap
    from penstock.finops.meters.engines import reachable

    try:
        telemetry = bootstrap.open_telemetry(settings, environ)
    except ConfigError as problem:
        return list(problem.problems), {}
    return ([], {}) if telemetry is None else reachable(telemetry, settings, time.time())
