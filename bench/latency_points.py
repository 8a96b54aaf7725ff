"""Rows of measured serving points (`serving_points.csv`) as deployments and workloads.

The file names parallel sizes in several ways; what they meant was found where one run is listed under two of them:

- `moe_tp_size` = `moe_ep_size` = s > 1 is a replica of s devices with experts over s of them, whatever `tp_size` (16/4/4 is 4/1/4);
- `attention_dp_size` = `tp_size` = d > 1 with d x d experts' ranks is a replica of d devices (2/2/4 measures as 2/1/2);
- `concurrency` is that of one attention rank: the replica's is `attention_dp_size` times as much;
- more than 8 devices are the sum over the workers of a disaggregated deployment: another engine.

Lengths of the benchmark named InferenceX are drawn between 80 % and 100 % of what is written: the mean is 90 %.
"""

import csv
import math
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from penstock.adapters.feeds.catalogue import accelerators, architectures, find_architecture
from penstock.domain.sizing.accelerators import UnknownNameError, find
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.formats import find_format
from penstock.domain.sizing.latency.deployment import Deployment, Point, Workload

FORMATS = {"": "bf16", "bfloat16": "bf16", "fp8_block": "fp8", "int4_wo": "int4", "fp4": "nvfp4"}
MXFP4_MODELS = ("gpt-oss",)
"""their checkpoints have no other 4-bit format, whatever the row calls it"""
DRAWN = "InferenceX"
DRAWN_MEAN = 0.9
MACHINE = 8
MOST = 10**8
"""tokens, requests or devices: beyond it, a row is mistaken"""
Row = Mapping[str, str]


class Case(NamedTuple):
    """A row that could be read."""

    deployment: Deployment
    workload: Workload
    pair: str
    """model and system: what is held out together"""
    mixture: bool


Example = tuple[Case, Point]


class FileError(Exception):
    """A file without rows to use."""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def case(row: Row) -> Case:
    """Raises `KeyError` without a column for the model, system or load, `LookupError` for a name that is not known, `ValueError` for sizes
    that are none. Where the engine or a size of the replica is not told, it is unknown, or 1."""
    architecture = _architecture(row["model"])
    accelerator = find(row["system"], accelerators())
    mixture = architecture.experts is not None
    devices, experts_over, copies = _sizes(row, mixture)
    form = find_format(_format(row))
    origin = row.get("origin") or ""
    ratio = DRAWN_MEAN if origin.startswith(DRAWN) else 1.0
    engine = (row.get("backend") or "") + (" disaggregated" if devices > MACHINE else "")
    deployment = Deployment(
        architecture=architecture, format=form, accelerator=accelerator, engine=engine,
        tensor_parallel=max(1, devices // copies), data_parallel=copies, expert_parallel=experts_over,
        kv_bits=8 if form.bits <= 8 and form.name != "int4" else 16,
        engine_version=_version(row), setup=origin.partition(" ")[0],
    )  # fmt: skip
    workload = Workload(
        input_tokens=max(1, round(_load(row, "isl") * ratio)),
        output_tokens=max(1, round(_load(row, "osl") * ratio)),
        concurrency=_load(row, "concurrency") * _size(row, "attention_dp_size"),
    )
    return Case(deployment, workload, f"{architecture.name} on {accelerator.name}", mixture)


def examples_of(path: Path) -> list[Example]:
    """The measured rows of a file that can be read. Raises `FileError` where none can."""
    rows = rows_of(path)
    cases, _ = cases_of(rows)
    found = []
    for place, it in cases.items():
        ttft, tpot = _positive(rows[place].get("ttft_ms")), _positive(rows[place].get("tpot_ms"))
        if ttft is not None and tpot is not None:
            found.append((it, Point(workload=it.workload, ttft_ms=ttft, tpot_ms=tpot)))
    if not found:
        raise FileError(f"{path}: no row has a known model and system, `ttft_ms` and `tpot_ms`")
    return found


def cases_of(rows: Iterable[Row]) -> tuple[dict[int, Case], dict[int, str]]:
    """By place of the row: what could be read, and why the others could not."""
    cases: dict[int, Case] = {}
    unknown: dict[int, str] = {}
    for place, row in enumerate(rows):
        try:
            cases[place] = case(row)
        except KeyError as missing:
            unknown[place] = f"no column {missing}"
        except (LookupError, ValueError) as problem:
            unknown[place] = str(problem)
    return cases, unknown


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _architecture(name: str) -> Architecture:
    """What the catalogue has; else the model nearest to the size that the name tells, under that name: physics without measurements."""
    try:
        return find_architecture(name)
    except UnknownNameError:
        told = re.search(r"(\d+(?:\.\d+)?)b(?:-a\d|\b)", name.lower())
        if told is None:
            raise
        mixture = re.search(r"-a\d+(?:\.\d+)?b", name.lower()) is not None
        size = float(told.group(1)) * 1e9
        alike = [each for each in architectures().values() if (each.experts is not None) == mixture]
        nearest = min(alike, key=lambda each: abs(math.log(each.published / size)))
        print(f"no model `{name}` is known: physics of {nearest.name} stands in", file=sys.stderr)
        return msgspec.structs.replace(nearest, name=name)


def _sizes(row: Row, mixture: bool) -> tuple[int, int, int]:
    """Devices of the replica, what experts are spread over, copies of the attention."""
    cut, copies, experts_cut, experts_over = (_size(row, f"{name}_size") for name in ("tp", "attention_dp", "moe_tp", "moe_ep"))
    if not mixture:
        return cut * copies, 1, copies
    if experts_cut == experts_over > 1:
        return experts_cut, experts_cut, experts_cut if copies > 1 else 1
    if copies > 1 and cut == copies and experts_over == cut * copies:
        return cut, cut, 1
    devices = max(cut * copies, experts_cut * experts_over)
    return devices, experts_over, copies if copies > 1 else max(1, devices // cut)


def _format(row: Row) -> str:
    asked = row.get("moe_quant_mode") or row.get("gemm_quant_mode") or row.get("precision") or ""
    name = FORMATS.get(asked, asked)
    return "mxfp4" if name == "nvfp4" and any(each in row["model"].lower() for each in MXFP4_MODELS) else name


def _version(row: Row) -> str:
    """The first that was measured; where the column says none, that is a group of its own, and where there is no column, unknown."""
    versions = row.get("versions")
    return "" if versions is None else versions.partition(" ")[0] or "unnamed"


def _load(row: Row, name: str) -> int:
    """A column of the load, which has to be there."""
    return _whole(name, row[name])


def _size(row: Row, name: str) -> int:
    """Of the replica; 1 where it is not told, or 0."""
    told = row.get(name)
    return _whole(name, told) if told and told.strip() not in ("0", "0.0") else 1


def _whole(name: str, told: str) -> int:
    try:
        value = float(told)
    except (TypeError, ValueError):
        value = math.nan
    if not 1 <= value <= MOST:
        raise ValueError(f"`{name}` is `{told or ''}`, which is no number from 1 to {MOST:,}")
    return int(value)
