"""Whether what is told to other systems has an address that can be written to."""

import re
from collections.abc import Iterator

import msgspec

from penstock.config.checks_upstreams import url_problems
from penstock.config.problems import Problem, error, join, warning
from penstock.config.settings import Settings

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET = re.compile(r"authorization|token|secret|key|password", re.IGNORECASE)
OURS = frozenset({"content-type", "content-length", "content-encoding", "host"})
EXAMPLE = "write it like `http://127.0.0.1:4318`"


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[telemetry]`."""
    telemetry = settings.telemetry
    if telemetry.traces is not None:
        faults = [fault for fault in url_problems("telemetry.traces", telemetry.traces) if fault.severity == "error"]
        yield from (msgspec.structs.replace(fault, hint=EXAMPLE) for fault in faults)
        if not faults and ":4317" in telemetry.traces:
            yield warning("telemetry.traces", "4317 is the port of OTLP over gRPC, and this is sent over HTTP", "the usual port is 4318")
    elif telemetry.headers:
        yield warning("telemetry.headers", "these headers go nowhere", "set `traces`, or remove them")
    for name, value in telemetry.headers.items():
        where = join("telemetry.headers", name)
        if not _HEADER.fullmatch(name):
            yield error(where, "not a header's name", "use letters, digits and `-`")
        elif name.lower() in OURS:
            yield error(where, "this header is set by Penstock", "remove it")
        elif isinstance(value, str) and _SECRET.search(name):
            yield warning(where, "this looks like a secret", 'put it into an environment variable and name that: `{ env = "NAME" }`')
