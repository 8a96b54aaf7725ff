"""Tables of graded answers: rows, the tiers of a pool, and what a router may know of a row that it decides."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.domain.ledger.routed import Observation, Seen
from penstock.domain.routing.agreement.keys import answer_key
from penstock.domain.routing.complexity import complexity
from penstock.domain.units import NANO_PER_USD

UNKNOWN_TASK: Final = "unknown"
_REMEMBERED: Final = 100_000
"""of what is made of a row again in each fold and run"""


class TableError(Exception):
    """A table that cannot be used. Its text says what to do."""


class Cell(msgspec.Struct, frozen=True):
    """What one model made of a row. `q`: quality, 0 to 1; `c`: cost in USD; `it`, `ot`: tokens; `a`: its final answer, extracted."""

    q: float | None = None
    c: float | None = None
    it: int | None = None
    ot: int | None = None
    a: Any = None


class Row(msgspec.Struct, frozen=True):
    """One request, with what every model of its pool made of it."""

    id: str
    m: dict[str, Cell]
    pool: str = ""
    """empty only while it is read"""
    task: str | None = None
    prompt: str = ""

    @property
    def tag(self) -> str:
        return self.task or UNKNOWN_TASK

    @property
    def request(self) -> dict[str, Any]:
        return request_of(self.prompt)

    def key(self, model: str) -> str | None:
        """What stands for its answer where answers are compared; None: there is nothing to compare."""
        answer = self.m[model].a if model in self.m else None
        return None if answer is None else _key(str(answer), self.prompt)

    @property
    def complexity(self) -> float:
        return _complexity(self.prompt)

    def cost(self, model: str) -> float:
        """In USD. Raises `TableError` when it is not there."""
        cell = self.m.get(model)
        if cell is None or cell.c is None:
            raise TableError(f"row {self.id}: no cost of {model}; a row needs `c` of every model that is called")
        return cell.c

    def quality(self, model: str) -> float:
        """Raises `TableError` when it is not there."""
        cell = self.m.get(model)
        if cell is None or cell.q is None:
            raise TableError(f"row {self.id}: no quality of {model}; this row needs `q` of it to be scored")
        return cell.q


def request_of(prompt: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}]}


@lru_cache(_REMEMBERED)
def _key(answer: str, prompt: str) -> str | None:
    return answer_key(answer, prompt)


@lru_cache(_REMEMBERED)
def _complexity(prompt: str) -> float:
    return complexity(request_of(prompt))


class Calls:
    """What a router sees of a row: the answers of the models that it has called, and of no others."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.made: list[str] = []

    def can(self, model: str) -> bool:
        return model in self._row.m

    def ask(self, model: str) -> None:
        """Calls a model; its answer is paid for once."""
        if model not in self.made:
            self.made.append(model)

    def answer(self, model: str) -> str | None:
        """What stands for its answer. Raises `LookupError` when the model was not called."""
        if model not in self.made:
            raise LookupError(f"the answer of {model} to {self._row.id} was read, but it was not called")
        return self._row.key(model)


class Pool(msgspec.Struct, frozen=True):
    """A route: its models from cheap to dear with the strong one last, whatever it costs."""

    name: str
    tiers: tuple[str, ...]

    @property
    def strong(self) -> str:
        return self.tiers[-1]

    @property
    def models(self) -> dict[str, str]:
        return {tier: tier for tier in self.tiers}


def rows_of(path: Path, pool: str) -> list[Row]:
    """`pool`: of rows that do not name one. Raises `TableError` when a line is not a row."""
    rows = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = msgspec.json.decode(line, type=Row)
                except msgspec.DecodeError as error:
                    form = '{"id", "pool", "task", "prompt", "m": {model: {...}}}'
                    raise TableError(f"{path}:{number}: {error}; a line is {form}") from error
                rows.append(row if row.pool else msgspec.structs.replace(row, pool=pool))
    return rows


def tables_of(directory: Path) -> dict[str, list[Row]]:
    """Rows by pool of all `*.jsonl` of a directory; a file without pools is one, named as the file. Raises `TableError` without any."""
    found: dict[str, list[Row]] = defaultdict(list)
    for path in sorted(directory.glob("*.jsonl")):
        for row in rows_of(path, path.stem):
            found[row.pool].append(row)
    if not found:
        raise TableError(f"{directory} has no *.jsonl with rows; it should have a table a pool, and a manifest.json")
    return dict(found)


def manifest_of(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    if not path.exists():
        return {}
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def pool_of(name: str, rows: Sequence[Row], manifest: Mapping[str, Any]) -> Pool:
    """The strong model is the manifest's `strong`; else the one with the best mean quality, in the rows, else in the manifest.

    Raises `TableError` when neither tells.
    """
    named = manifest.get(name) or manifest.get(f"dev:{name}") or {}
    costs, qualities = _means(rows, "c"), _means(rows, "q")
    if not qualities:
        qualities = {model: told["q"] for model, told in (named.get("models") or {}).items() if "q" in told}
    strong = named.get("strong") or max(qualities, key=lambda model: qualities[model], default=None)
    if strong is None:
        raise TableError(f'pool {name}: which model is the strong one? Name it in manifest.json: {{"{name}": {{"strong": MODEL}}}}')
    if strong not in costs:
        raise TableError(f"pool {name}: its strong model {strong} has no costs in the rows")
    cheaper = sorted((model for model in costs if model != strong), key=lambda model: (costs[model], model))
    return Pool(name, (*cheaper, strong))


def _means(rows: Sequence[Row], field: str) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for model, cell in row.m.items():
            if (value := getattr(cell, field)) is not None:
                values[model].append(value)
    return {model: sum(each) / len(each) for model, each in values.items()}


def observation_of(row: Row, pool: Pool, *, at_ns: int = 0, propensity: float = 1.0) -> Observation:
    return Observation(
        id=row.id, at_ns=at_ns, route=pool.name, tag=row.tag, seen=tuple(_seen(row, pool)), judge="table", propensity=propensity,
        complexity=row.complexity, length=len(row.prompt),
    )  # fmt: skip


def _seen(row: Row, pool: Pool) -> Iterator[Seen]:
    for tier in pool.tiers:
        cell = row.m.get(tier, Cell())
        cost = None if cell.c is None else round(cell.c * NANO_PER_USD)
        yield Seen(tier, quality=cell.q, cost=cost, answer=row.key(tier), model=pool.models[tier])


def coin(*parts: object) -> float:
    """From 0 to 1, always the same for the same parts."""
    told = "/".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(told, digest_size=8).digest()) / 2**64
