"""Points as files that can be read again: JSON with the whole report, or CSV with a row per point, whoever measured them.

A CSV needs `concurrency`, `input_tokens`, `output_tokens`, `ttft_mean_ms` and `tpot_mean_ms`; `isl`, `osl`, `ttft_ms` and `tpot_ms`
are understood too, so tables of other load generators can be brought.
"""

import csv
import io
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from penstock.capacity.measuring.points import Point, Spread
from penstock.capacity.measuring.sample import MeasureError

VERSION = 1
ALSO = {
    "isl": "input_tokens",
    "osl": "output_tokens",
    "ttft_ms": "ttft_mean_ms",
    "tpot_ms": "tpot_mean_ms",
    "e2e_ms": "e2e_mean_ms",
    "tp_size": "tensor_parallel",
    "backend": "engine",
}
MOST = 10**9
"""of any figure of a table: tokens, milliseconds, requests"""
NEEDED = ("concurrency", "input_tokens", "output_tokens", "ttft_mean_ms", "tpot_mean_ms")
_PLAIN = ("output_tokens_per_s", "requests_per_minute", "requests", "seconds", "throttled", "cached_share", "lag_ms")
_SPREADS = ("ttft", "tpot", "e2e")
_PARTS = ("mean", "p50", "p95", "p99")


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points and what they are points of; None: not told."""

    version: int = VERSION
    url: str | None = None
    model: str | None = None
    """name in the catalogue"""
    upstream_model: str | None = None
    gpu: str | None = None
    """one of the accelerators that it ran on, as the catalogue names it"""
    tensor_parallel: int = 1
    engine: str | None = None
    format: str | None = None
    started: datetime | None = None
    stopped: str | None = None
    notes: tuple[str, ...] = ()
    points: tuple[Point, ...]


def write_points(path: Path, told: Measured) -> None:
    """CSV where the name ends so, else JSON. Raises OSError."""
    path.write_text(_csv(told) if path.suffix.lower() == ".csv" else _json(told), encoding="utf-8")


def read_points(path: Path) -> Measured:
    """What `write_points` wrote, or another's table. Raises `MeasureError` that names the row, and OSError."""
    content = path.read_bytes()
    if path.suffix.lower() == ".csv":
        return _read_csv(content, path.name)
    try:
        told = msgspec.json.decode(content, type=Measured)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise MeasureError(f"{path.name}: no points of a load test: {problem}", "it is written by `penstock size --measure URL`") from None
    if told.version != VERSION:
        raise MeasureError(f"{path.name}: points of version {told.version}, and this reads version {VERSION}", "measure again")
    if not told.points:
        raise MeasureError(f"{path.name}: it holds no point", "measure again")
    for number, each in enumerate(told.points, start=1):
        means = {f"{name}_ms": spread.mean for name in _SPREADS if (spread := getattr(each, f"{name}_ms")) is not None}
        for name, value in {"input_tokens": each.input_tokens, "output_tokens": each.output_tokens, **means}.items():
            if not 0 < value <= MOST:
                raise MeasureError(
                    f"{path.name}: point {number}: {name} is {value:g}, not a number above 0 up to {MOST:,}", "measure again"
                )
    return told


def _json(told: Measured) -> str:
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"


def _csv(told: Measured) -> str:
    facts = {"model": told.model, "gpu": told.gpu, "tensor_parallel": told.tensor_parallel, "engine": told.engine, "format": told.format}
    rows = [_row(facts, each) for each in told.points]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _row(facts: Mapping[str, object], each: Point) -> dict[str, object]:
    row: dict[str, object] = {
        **facts,
        "concurrency": each.concurrency,
        "rate_per_minute": each.rate_per_minute,
        "input_tokens": each.input_tokens,
        "output_tokens": each.output_tokens,
    }
    for name, spread in zip(_SPREADS, (each.ttft_ms, each.tpot_ms, each.e2e_ms), strict=True):
        for part in _PARTS:
            row[f"{name}_{part}_ms"] = None if spread is None else getattr(spread, part)
    row |= {name: getattr(each, name) for name in _PLAIN}
    return row | {"failed": each.failed, "estimated": int(each.estimated), "cut": int(each.cut), "burst": int(each.burst)}


def _read_csv(content: bytes, name: str) -> Measured:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise MeasureError(f"{name}: not a CSV file in UTF-8: {problem}", "save it as UTF-8") from None
    rows = [{ALSO.get(key, key): value or "" for key, value in row.items() if isinstance(key, str)} for row in rows]
    lacking = [each for each in NEEDED if not rows or each not in rows[0]]
    if lacking:
        raise MeasureError(f"{name}: it lacks {', '.join(lacking)}", f"a table of points has the columns {', '.join(NEEDED)}")
    first, devices = rows[0], _figure(rows[0], "tensor_parallel", name, 2)
    if devices is not None and (devices < 1 or devices != int(devices)):
        raise MeasureError(f"{name}: row 2: tensor_parallel `{first['tensor_parallel']}` is no number of GPUs", "correct the row")
    facts = ("model", "gpu", "engine", "format", "tensor_parallel")
    for number, row in enumerate(rows, start=2):
        different = [fact for fact in facts if row.get(fact, "") != first.get(fact, "")]
        if different:
            raise MeasureError(f"{name}: row {number}: another {different[0]} than row 2", "keep a file for each deployment")
    return Measured(
        model=first.get("model") or None,
        gpu=first.get("gpu") or None,
        engine=first.get("engine") or None,
        format=first.get("format") or None,
        tensor_parallel=int(devices or 1),
        points=tuple(_point(row, name, number) for number, row in enumerate(rows, start=2)),
    )


def _point(row: Mapping[str, str], name: str, number: int) -> Point:
    def figure(column: str) -> float | None:
        return _figure(row, column, name, number)

    def above_0(column: str) -> float | None:
        return None if figure(column) is None else needed(column)

    def needed(column: str) -> float:
        value = figure(column)
        if value is None or value <= 0:
            raise MeasureError(f"{name}: row {number}: {column} `{row.get(column, '')}` is not above 0", "correct the row")
        return value

    rate = figure("rate_per_minute")
    concurrency = None if rate is not None else round(needed("concurrency"))
    entered, made = needed("input_tokens"), needed("output_tokens")
    ttft, tpot, e2e = (_spread([above_0(f"{each}_{part}_ms") for part in _PARTS]) for each in _SPREADS)
    if e2e is None:
        if ttft is None:
            raise MeasureError(f"{name}: row {number}: neither a time to the first token nor to the last", "correct the row")
        whole = ttft.mean + (made - 1) * (0.0 if tpot is None else tpot.mean)
        e2e = Spread(whole, whole, whole, whole)
    per_minute = figure("requests_per_minute")
    if per_minute is None:
        per_minute = rate if rate is not None else 60_000 * (concurrency or 0) / e2e.mean
    tokens_per_s = figure("output_tokens_per_s")
    failed = round(figure("failed") or 0)
    return Point(
        concurrency=concurrency,
        rate_per_minute=rate,
        input_tokens=entered,
        output_tokens=made,
        requests=round(figure("requests") or 1),
        seconds=figure("seconds") or 0.0,
        ttft_ms=ttft,
        tpot_ms=tpot,
        e2e_ms=e2e,
        output_tokens_per_s=per_minute * made / 60 if tokens_per_s is None else tokens_per_s,
        requests_per_minute=per_minute,
        errors={"failed": failed} if failed else {},
        throttled=round(figure("throttled") or 0),
        cached_share=figure("cached_share") or 0.0,
        estimated=bool(figure("estimated")),
        cut=bool(figure("cut")),
        burst=bool(figure("burst")),
        lag_ms=figure("lag_ms") or 0.0,
    )


def _spread(parts: list[float | None]) -> Spread | None:
    """What is not told of a spread is its mean: a table of means alone knows no tail."""
    mean = parts[0]
    return None if mean is None else Spread(*(mean if part is None else part for part in parts))


def _figure(row: Mapping[str, str], column: str, name: str, number: int) -> float | None:
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:
        raise MeasureError(f"{name}: row {number}: {column} `{text}` is not a number from 0 to {MOST:,}", "correct the row")
    return value
