"""penstock.toml -> frozen settings: parsed, overridden from the environment, checked for shape.

Paths are made absolute and tag names brought to the one spelling that the rest of Penstock knows.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.config import overrides
from penstock.config.caching import Cache
from penstock.config.hardware import Fleet
from penstock.config.problems import ConfigError, error
from penstock.config.settings import Archive, Server, Settings, Tags, Upstream
from penstock.config.shape import faults, quantity
from penstock.domain.dialects.content import normal_tag

_SQLITE = "sqlite:///"
_POSITION = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")


def load(path: Path | str, environ: Mapping[str, str]) -> Settings:
    """Settings of a file. Raises `ConfigError` with every problem of its shape; `checks.problems` looks at its meaning."""
    file = Path(path)
    settings = parse(read(file), environ, str(file))
    return absolute(settings, file.absolute().parent)


def read(file: Path) -> str:
    """Text of a file. Raises `ConfigError` when there is none that can be read."""
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([error(str(file), "no such file", "run `penstock init` to write one, or name another with --config")]) from None
    except UnicodeDecodeError as problem:
        raise ConfigError([error(str(file), f"not UTF-8 at byte {problem.start}", "save the file as UTF-8")]) from None
    except OSError as problem:
        text = (problem.strerror or str(problem)).lower()
        raise ConfigError([error(str(file), text, "name a file that can be read with --config")]) from None


def parse(text: str, environ: Mapping[str, str], source: str | None = None) -> Settings:
    """Settings of TOML text, paths as written. Raises `ConfigError`."""
    raw = _toml(text, source)
    problems = overrides.apply(raw, environ) + list(faults(raw))
    if problems:
        raise ConfigError(problems, source)
    try:
        return _spelled(msgspec.convert(raw, Settings, dec_hook=quantity))
    except msgspec.ValidationError as problem:
        message, _, where = str(problem).partition(" - at `$.")
        raise ConfigError([error(where.rstrip("`") or "file", message.lower(), "see the configuration reference")], source) from None


def _toml(text: str, source: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as problem:
        message, place = str(problem), "file"
        if found := _POSITION.search(message):
            message, place = message[: found.start()], found[1]
        hint = "this is not TOML: texts stand in quotes, each key once, tables in [brackets]"
        raise ConfigError([error(place, message[:1].lower() + message[1:], hint)], source) from None
    except RecursionError:
        raise ConfigError([error("file", "nested too deeply", "flatten its lists and tables")], source) from None


def _spelled(settings: Settings) -> Settings:
    tags, cache, replace = settings.tags, settings.cache, msgspec.structs.replace
    return msgspec.structs.replace(
        settings,
        tags=Tags(
            declared=tuple(map(normal_tag, tags.declared)),
            required=tuple(map(normal_tag, tags.required)),
            allowed={normal_tag(name): values for name, values in tags.allowed.items()},
        ),
        cache=replace(cache, scope=tuple(map(normal_tag, cache.scope))),
        routes={name: replace(route, by=tuple(map(normal_tag, route.by))) for name, route in settings.routes.items()},
        checks={name: replace(check, where=_normal_keys(check.where)) for name, check in settings.checks.items()},
    )


def _normal_keys(where: Mapping[str, str]) -> dict[str, str]:
    return {normal_tag(name): value for name, value in where.items()}


def absolute(settings: Settings, base: Path) -> Settings:
    """The same settings with every relative path taken from `base`, the directory of the file."""
    return msgspec.structs.replace(
        settings,
        server=_server(settings.server, base),
        upstreams={name: _upstream(each, base) for name, each in settings.upstreams.items()},
        fleets={name: _fleet(each, base) for name, each in settings.fleets.items()},
        archive=_archive(settings.archive, base),
        cache=_cache(settings, base),
    )


def _server(server: Server, base: Path) -> Server:
    store = server.store
    if store.startswith(_SQLITE):
        store = _SQLITE + str(base / store.removeprefix(_SQLITE))
    prices = None if server.prices is None else str(base / server.prices)
    return msgspec.structs.replace(server, store=store, journal=str(base / server.journal), prices=prices)


def _upstream(upstream: Upstream, base: Path) -> Upstream:
    return upstream if upstream.ca_file is None else msgspec.structs.replace(upstream, ca_file=str(base / upstream.ca_file))


def _cache(settings: Settings, base: Path) -> Cache:
    """An embedder with a slash is a directory, unless it is the name of a model or a name on the hub that no directory has."""
    cache, name = settings.cache, settings.cache.semantic.embedder
    if "/" not in name or name in settings.models:
        return cache
    place = base / Path(name).expanduser()
    if len(Path(name).parts) == 2 and not name.startswith((".", "/", "~")) and not place.is_dir():
        return cache
    return msgspec.structs.replace(cache, semantic=msgspec.structs.replace(cache.semantic, embedder=str(place)))


def _archive(archive: Archive, base: Path) -> Archive:
    if archive.url is None or "://" in archive.url:
        return archive
    return msgspec.structs.replace(archive, url=str(base / archive.url))


def _fleet(fleet: Fleet, base: Path) -> Fleet:
    if fleet.runs is None or fleet.runs == "prometheus":
        return fleet
    return msgspec.structs.replace(fleet, runs=str(base / fleet.runs))
