"""Where the exact cache is kept: in each worker's memory, or in the Redis that all hosts share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.config.problems import ConfigError, error
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.ports.cache import Cache

_REDIS = ("redis://", "rediss://")


def open_cache(settings: Settings, log: Callable[[str], None]) -> "Cache | None":
    """The exact cache; None where it is off. Raises `ConfigError` when the extra `redis` is not installed."""
    exact, shared = settings.cache.exact, settings.server.shared
    if not exact.enabled:
        return None
    if not shared.startswith(_REDIS):
        from penstock.adapters.caches.memory import MemoryCache

        return MemoryCache(exact.max_bytes // settings.server.workers)
    try:
        from penstock.adapters.caches.redis import RedisCache
    except ImportError:
        hint = "install the extra: `pip install 'penstock[redis]'`"
        raise ConfigError([error("server.shared", "a redis:// address needs the package `redis`", hint)]) from None
    return RedisCache(shared, exact.max_bytes, log)
