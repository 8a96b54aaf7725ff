"""Whether what is told to other systems has an address that can be written to, and the GPUs' own meters one to be read at."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

import msgspec

from penstock.config.checks_upstreams import url_problems
from penstock.config.hardware import Fleet
from penstock.config.problems import Problem, error, join, warning
from penstock.config.settings import Settings
from penstock.config.tables import Secret

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET = re.compile(r"authorization|token|secret|key|password", re.IGNORECASE)
OURS = frozenset({"content-type", "content-length", "content-encoding", "host"})
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
PROMETHEUS_EXAMPLE = "write it like `http://127.0.0.1:9090`"
EXAMPLE = "write it like `http://127.0.0.1:4318`"


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[telemetry]`, and about `match` and `metrics` of fleets."""
    telemetry = settings.telemetry
    if telemetry.traces is not None:
        faults = [fault for fault in url_problems("telemetry.traces", telemetry.traces) if fault.severity == "error"]
        yield from (msgspec.structs.replace(fault, hint=EXAMPLE) for fault in faults)
        if not faults and ":4317" in telemetry.traces:
            yield warning("telemetry.traces", "4317 is the port of OTLP over gRPC, and this is sent over HTTP", "the usual port is 4318")
    elif telemetry.headers:
        yield warning("telemetry.headers", "these headers go nowhere", "set `traces`, or remove them")
    yield from _header_problems("telemetry.headers", telemetry.headers)
    yield from _prometheus_problems(settings)
    for name, fleet in settings.fleets.items():
        yield from _fleet_problems(settings, join("fleets", name), fleet)


def _header_problems(path: str, headers: Mapping[str, Secret | str]) -> Iterator[Problem]:
    for name, value in headers.items():
        where = join(path, name)
        if not _HEADER.fullmatch(name):
            yield error(where, "not a header's name", "use letters, digits and `-`")
        elif name.lower() in OURS:
            yield error(where, "this header is set by Penstock", "remove it")
        elif isinstance(value, str) and _SECRET.search(name):
            yield warning(where, "this looks like a secret", 'put it into an environment variable and name that: `{ env = "NAME" }`')


def _prometheus_problems(settings: Settings) -> Iterator[Problem]:
    telemetry, where = settings.telemetry, "telemetry.prometheus"
    yield from _header_problems("telemetry.prometheus_headers", telemetry.prometheus_headers)
    if telemetry.prometheus is None:
        if telemetry.prometheus_headers:
            yield warning("telemetry.prometheus_headers", "these headers go nowhere", "set `prometheus`, or remove them")
        return
    faults = [fault for fault in url_problems(where, telemetry.prometheus) if fault.severity == "error"]
    yield from (msgspec.structs.replace(fault, hint=PROMETHEUS_EXAMPLE) for fault in faults)
    if not faults and re.search(r"/api/v1(/|$)", telemetry.prometheus):
        yield error(where, "`/api/v1` is added by Penstock", "name the address before it, `http://127.0.0.1:9090`")
    fleets = settings.fleets
    unnamed = [name for name, fleet in fleets.items() if not fleet.match and not _expressions(fleet)]
    if len(fleets) > 1:
        for name in unnamed:
            text = "its series cannot be told from those of other fleets: its meters are not read"
            yield warning(f"{join('fleets', name)}.match", text, 'give the labels of its series, such as `{ Hostname = "gpu-1" }`')
        for name, other in combinations((name for name in fleets if fleets[name].match), 2):
            same = (fleets[name].match, fleets[name].mig) == (fleets[other].match, fleets[other].mig)
            if same:
                text = f"`{name}` matches the same series: GPUs and their work would count for both"
                yield error(f"{join('fleets', other)}.match", text, "add a label that tells them apart")


def _fleet_problems(settings: Settings, where: str, fleet: Fleet) -> Iterator[Problem]:
    asked = [f"{where}.match"] if fleet.match else []
    asked += [f"{where}.metrics.{field}" for field, _ in _expressions(fleet)]
    if settings.telemetry.prometheus is None:
        hint = 'set [telemetry] prometheus = "http://127.0.0.1:9090"'
        for each in asked:
            yield warning(each, "no Prometheus is named that has such series", hint)
    for label in fleet.match:
        if not _LABEL.fullmatch(label):
            yield error(join(f"{where}.match", label), "not a label's name", "use letters, digits and `_`")
        elif label == "__name__":
            yield error(join(f"{where}.match", label), "names of series are Penstock's part", "put other names into `metrics`")
    for field, promql in _expressions(fleet):
        if not promql.strip():
            yield error(f"{where}.metrics.{field}", "an empty expression gives nothing", "write PromQL, or remove the key")


def _expressions(fleet: Fleet) -> list[tuple[str, str]]:
    metrics = fleet.metrics
    return [(field, text) for field in metrics.__struct_fields__ if (text := getattr(metrics, field)) is not None]
