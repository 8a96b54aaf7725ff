"""Other observability systems: traces by OTLP. Loaded only where the config asks for them."""

import re
from collections.abc import Callable, Mapping

from penstock.ports.traces import Traces, TracesError

_VALUE = re.compile(r"([!-~]([ -~]*[!-~])?)?")
"""what goes into a header as it is (RFC 9110, section 5.5), without the characters that nobody agrees on"""
_HINT = "write it in printable ASCII, with no space or line break at either end"


def open_traces(address: str, headers: Mapping[str, str], providers: Mapping[str, str], log: Callable[[str], None]) -> Traces:
    """Spans to an OTLP/HTTP receiver, `providers` by upstream. Sends nothing yet.

    Raises `TracesError` without the extra `otel`, and for a header that cannot be sent.
    """
    for name, value in headers.items():
        # said here, without the value: the exporter would quote it, secret or not, in what it logs
        if not _VALUE.fullmatch(value):
            raise TracesError(f"[telemetry] headers: the value of `{name}` cannot be sent", _HINT)
    try:
        from penstock.adapters.telemetry.otlp import OtlpTraces, exporter
    except ImportError as problem:
        raise TracesError("[telemetry] traces needs OpenTelemetry", "install the extra: `pip install 'penstock[otel]'`") from problem
    return OtlpTraces(exporter(address, headers), providers, log)
