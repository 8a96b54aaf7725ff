"""Whether the fixed sections hold together: server, auth, tags, cache, archive."""

from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.settings import Server, Settings
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.hardware import parse_amount

DAY_S = 86_400
_ANSWER_STORES = ("local://", "redis://", "rediss://", "postgresql://")
_SEMANTIC_PACKAGES = ("numpy", "onnx", "onnxruntime", "tokenizers", "usearch")


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[server] [auth] [tags] [cache] [archive]`."""
    yield from _listen_problems(settings)
    yield from _place_problems(settings.server)
    baseline = settings.server.baseline
    if baseline is not None and baseline not in settings.tiers:
        yield error("server.baseline", f"there is no tier `{baseline}`", nearest(baseline, settings.tiers, "add it to [tiers]"))
    if settings.server.max_body <= 0:
        yield error("server.max_body", "no request fits into nothing", 'write a size above 0, such as "10 MB"')
    if settings.server.max_answer <= 0:
        yield error("server.max_answer", "no answer fits into nothing", 'write a size above 0, such as "64 MB"')
    if settings.archive.after < DAY_S:
        yield error(
            "archive.after", "records of less than a day are not sealed: hours may still be open", 'write a day or more, such as "90d"'
        )
    yield from _tag_problems(settings)
    yield from _cache_problems(settings)


def endpoint(listen: str) -> tuple[str, int]:
    """Host and port of a `listen` text, brackets of IPv6 removed. Raises `ValueError`."""
    parts = urlsplit(f"//{listen}")
    if parts.hostname is None or parts.port is None or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"`{listen}` is not host:port")
    return parts.hostname, parts.port


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def metrics_keyed(settings: Settings) -> bool:
    """Whether `/metrics` is for holders of a key alone. `server.listen` must be readable."""
    auth, (host, _) = settings.auth, endpoint(settings.server.listen)
    return auth.metrics != "open" and (auth.metrics_key is not None or not is_loopback(host))


def _listen_problems(settings: Settings) -> Iterator[Problem]:
    try:
        host, _ = endpoint(settings.server.listen)
    except ValueError:
        yield error("server.listen", f"`{settings.server.listen}` is not an address", "write host:port, such as `127.0.0.1:4100`")
        return
    if is_loopback(host):
        return
    if settings.auth.admin_key is None:
        text = f"the console is closed: {settings.server.listen} is not loopback, and there is no admin key"
        yield warning("auth.admin_key", text, 'set admin_key = { env = "PENSTOCK_ADMIN" }')
    if not settings.auth.required:
        yield warning("auth.required", f"whoever reaches {settings.server.listen} can spend", "set required = true and make keys")
    if settings.auth.metrics == "open":
        hint = 'let a proxy or a firewall keep strangers from /metrics, or set metrics = "auto" and a metrics_key'
        yield warning("auth.metrics", f"/metrics is open to whoever reaches {settings.server.listen}", hint)
    elif settings.auth.metrics_key is None and settings.auth.admin_key is None:
        text = f"/metrics is closed: {settings.server.listen} is not loopback, and there is no key for it"
        yield warning("auth.metrics_key", text, 'set metrics_key = { env = "PENSTOCK_METRICS" }, or metrics = "open"')


def _place_problems(server: Server) -> Iterator[Problem]:
    if not server.store.startswith(("sqlite:///", "postgresql://")):
        yield error("server.store", "not a store that Penstock knows", "write `sqlite:///penstock.db` or `postgresql://user@host/database`")
    if server.shared != "local://" and not server.shared.startswith(("redis://", "rediss://")):
        yield error("server.shared", "not a shared store that Penstock knows", "write `local://` or `redis://host:6379/0`")
    yield from timezone_problems("server.timezone", server.timezone)


def timezone_problems(where: str, timezone: str) -> Iterator[Problem]:
    """A machine without a zone database still has UTC."""
    try:
        _ = timezone == "UTC" or ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        yield error(where, f"there is no time zone `{timezone}`", "write it like `UTC` or `Europe/Prague`")


def _tag_problems(settings: Settings) -> Iterator[Problem]:
    declared = settings.tags.declared
    for index, name in enumerate(settings.tags.required):
        if name not in declared:
            hint = nearest(name, declared, "add it to `declared`")
            yield error(f"tags.required[{index}]", f"`{name}` is not declared", hint)
    for name, values in settings.tags.allowed.items():
        where = join("tags.allowed", name)
        if name not in declared:
            yield error(where, f"`{name}` is not declared", nearest(name, declared, "add it to `declared`"))
        if not values:
            yield error(where, "no value is allowed, so no request could carry the tag", "name the values, or remove the key")


def _cache_problems(settings: Settings) -> Iterator[Problem]:
    known = ("tenant", *settings.tags.declared)
    for index, name in enumerate(settings.cache.scope):
        if name not in known:
            yield error(f"cache.scope[{index}]", f"`{name}` is neither `tenant` nor a declared tag", nearest(name, known, "use `tenant`"))
    if "tenant" not in settings.cache.scope:
        hint = 'add "tenant", unless all who call may see each other\'s answers'
        yield warning("cache.scope", "answers are replayed across tenants", hint)
    yield from _semantic_problems(settings)
    for name, route in settings.routes.items():
        if route.cache_ttl is not None and route.cache_ttl <= 0:
            where = f"{join('routes', name)}.cache_ttl"
            yield error(where, "an answer of no time is never replayed", 'set cache = "off", or write a time such as "1h"')
    exact = settings.cache.exact
    if exact.enabled and (exact.ttl <= 0 or exact.max_bytes <= 0):
        yield error("cache.exact", "a cache of no time or no bytes keeps nothing", "set enabled = false, or raise `ttl` and `max_bytes`")


def _semantic_problems(settings: Settings) -> Iterator[Problem]:
    """What is wrong with `[cache.semantic]` is told where it is on."""
    semantic, where = settings.cache.semantic, "cache.semantic"
    if not semantic.enabled:
        return
    if semantic.ttl <= 0 or semantic.max_bytes <= 0:
        yield error(where, "a cache of no time or no bytes keeps nothing", "set enabled = false, or raise `ttl` and `max_bytes`")
    if semantic.store != "auto" and not semantic.store.startswith(_ANSWER_STORES):
        hint = "write `auto`, `redis://host:6379/0` or `postgresql://user@host/database`"
        yield error(f"{where}.store", f"`{semantic.store}` is not a store that Penstock knows", hint)
    if semantic.mode == "learned" and semantic.max_error == 0:
        hint = 'raise max_error, or set mode = "zero-trust"'
        yield warning(f"{where}.max_error", "no wrong answer is accepted, so none is given by meaning", hint)
    model = settings.models.get(semantic.embedder)
    upstream = settings.upstreams.get(model.upstream) if model is not None else None
    if upstream is not None and upstream.kind == "anthropic":
        hint = "name a model of an OpenAI-compatible upstream, or `minilm`"
        yield error(f"{where}.embedder", f"the upstream of `{semantic.embedder}` makes no embeddings", hint)
    if semantic.wrong_answer is not None:
        try:
            parse_amount(semantic.wrong_answer, f"{where}.wrong_answer")
        except PriceError as problem:
            yield error(f"{where}.wrong_answer", str(problem), "write an amount such as `0.50 USD`")
    if lacking := [package for package in _SEMANTIC_PACKAGES if find_spec(package) is None]:
        text = f"only the very same requests will be answered from the cache: {', '.join(lacking)} is not installed"
        yield warning(f"{where}.enabled", text, "install the extra: `pip install 'penstock[semantic]'`")
