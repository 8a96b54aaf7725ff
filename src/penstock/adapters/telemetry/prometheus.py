"""Prometheus (or what speaks its HTTP API v1) behind the `Telemetry` port, and the names of the meters that it scrapes.

No proxy and no redirect is followed: the query and its headers go to the configured address and nowhere else.
"""

import http.client
import math
import ssl
import time
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from penstock.ports.telemetry import MeterNames, Series, TelemetryError

TIMEOUT_S = 15.0
MOST_POINTS = 11_000
"""of a series in one answer: what Prometheus allows"""
MOST_BYTES = 64_000_000
_UNREACHED = "start it, or correct [telemetry] prometheus"
_QUESTION = {"bad_data": "correct the PromQL", "execution": "ask for less: narrow `match`, or correct the PromQL"}
T = TypeVar("T")


class _Row(msgspec.Struct):
    """One series of a matrix (`values`) or of a vector (`value`)."""

    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct):
    resultType: str
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    errorType: str = ""


class Prometheus:
    """A `Telemetry`. Each question is a connection of its own: they are few, and far between."""

    def __init__(self, address: str, headers: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> None:
        """`address` without `/api/v1`; a path before it stays. Raises `TelemetryError` for a header that cannot be sent."""
        self.address = address.rstrip("/")
        parts = urlsplit(self.address)
        self._host, self._port, self._tls = parts.hostname or "", parts.port, parts.scheme == "https"
        self._path = parts.path
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable() and value == value.strip()):  # said without the value: it may be a secret
                hint = "write it in printable ASCII, with no space or line break at either end"
                raise TelemetryError(f"[telemetry] prometheus_headers: the value of `{name}` cannot be sent", hint, refused=True)
        self._headers = dict(headers)
        self._timeout_s = timeout_s

    @cached_property
    def names(self) -> MeterNames:
        """The names in `names.toml`."""
        return msgspec.convert(tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8")), MeterNames)

    def range(self, promql: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """See `Telemetry`. More points than Prometheus gives at once are asked for piece by piece."""
        pieces = [
            self._ask("query_range", query=promql, start=_seconds(start), end=_seconds(end), step=_seconds(step_s))
            for start, end in _pieces(start_s, end_s, step_s)
        ]
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    def instant(self, promql: str, at_s: float) -> list[Series]:
        """See `Telemetry`."""
        return self._ask("query", query=promql, time=_seconds(at_s))

    def _ask(self, endpoint: str, **form: str) -> list[Series]:
        status, body = self._post(f"{self._path}/api/v1/{endpoint}", urlencode({**form, "timeout": f"{self._timeout_s:g}s"}))
        if status in (401, 403):
            raise TelemetryError(f"{self.address} answered {status}", "set [telemetry] prometheus_headers to what it asks for")
        if 300 <= status < 400:
            raise TelemetryError(f"{self.address} answered {status}: it sends its callers elsewhere", "name that address instead")
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError:
            hint = "name the address of its start page, without `/api/v1`"
            raise TelemetryError(f"{self.address} answered {status}, and not as Prometheus does", hint) from None
        if answer.status != "success" or answer.data is None:
            refused = answer.errorType in _QUESTION
            hint = f"{_QUESTION[answer.errorType]}: {form['query'][:300]}" if refused else "look into the log of that Prometheus"
            raise TelemetryError(f"{self.address}: {answer.errorType or status}: {answer.error[:500]}", hint, refused=refused)
        return list(_series(answer.data))

    def _post(self, path: str, form: str) -> tuple[int, bytes]:
        until = time.monotonic() + self._timeout_s
        context = ssl.create_default_context() if self._tls else None
        try:
            if context is not None:
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout_s, context=context
                )
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            try:
                sent = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
                connection.request("POST", path, form, {**sent, **self._headers})
                answer = connection.getresponse()
                return answer.status, self._read(answer, until)
            finally:
                connection.close()
        except TimeoutError:
            raise TelemetryError(f"{self.address} did not answer within {self._timeout_s:g} s", _UNREACHED) from None
        except (OSError, http.client.HTTPException) as problem:
            reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            raise TelemetryError(f"no answer from {self.address}: {reason.lower()}", _UNREACHED) from None

    def _read(self, answer: http.client.HTTPResponse, until: float) -> bytes:
        """The whole body; a timeout of the socket holds for each piece only."""
        pieces: list[bytes] = []
        size = 0
        while piece := answer.read1(65_536):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                hint = "narrow `match` of the fleets: their series are too many"
                raise TelemetryError(f"{self.address}: an answer of more than {MOST_BYTES // 10**6} MB", hint, refused=True)
            if time.monotonic() > until:
                raise TimeoutError
        return b"".join(pieces)


def _seconds(value: float) -> str:
    """Prometheus reckons in milliseconds."""
    return f"{value:.3f}"


def _pieces(start_s: float, end_s: float, step_s: float) -> Iterator[tuple[float, float]]:
    """Ranges of at most `MOST_POINTS` points that together have the points of the whole."""
    points = max(0, math.floor((end_s - start_s) / step_s + 1e-6)) + 1
    for first in range(0, points, MOST_POINTS):
        last = min(first + MOST_POINTS, points) - 1
        yield start_s + first * step_s, start_s + last * step_s


def _joined(pieces: list[list[Series]]) -> list[Series]:
    """Series of consecutive answers put together by their labels."""
    whole: dict[frozenset[tuple[str, str]], Series] = {}
    for series in (each for piece in pieces for each in piece):
        key = frozenset(series.labels.items())
        before = whole.get(key)
        whole[key] = series if before is None else Series(series.labels, before.points + series.points, before.dropped + series.dropped)
    return list(whole.values())


def _series(data: _Data) -> Iterator[Series]:
    if data.resultType == "scalar":
        yield _numbers({}, [_decoded(data.result, tuple[float, str])])
    elif data.resultType in ("matrix", "vector"):
        for row in _decoded(data.result, list[_Row]):
            yield _numbers(row.metric, row.values if row.value is None else [row.value])
    else:
        raise TelemetryError(f"the answer is a {data.resultType}, not numbers", "write an expression that has numbers", refused=True)


def _decoded(raw: msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as problem:
        raise TelemetryError(f"an answer that cannot be read: {problem}", "is it a Prometheus?") from None


def _numbers(labels: dict[str, str], samples: list[tuple[float, str]]) -> Series:
    """Only what is a number: NaN stands for nothing known, and an infinity measures nothing."""
    points, dropped = [], []
    for at, text in samples:
        try:
            value = float(text)
        except ValueError:
            raise TelemetryError(f"an answer that cannot be read: a value is {text[:40]!r}", "is it a Prometheus?") from None
        if math.isfinite(value):
            points.append((at, value))
        else:
            dropped.append(at)
    return Series(labels, tuple(points), tuple(dropped))
