"""What a simulation found, as it is told and kept: rows of policies, their course, and what all of it rests on. No numpy here.

Money is decimal strings of USD, seconds are simulated ones, unknown is None.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.ports.documents import Document, Documents

KIND: Final = "simulation"
MOST_KEPT: Final = 40
"""runs that are kept, the newest"""


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds that 50, 95 and 99 % of the answered requests stayed within; None: there were none."""

    p50: float | None
    p95: float | None
    p99: float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one fleet."""

    policy: str
    """as it was asked for: `forecast:quantile=0.95`"""
    shield: str | None
    """what happened to requests while nothing ran: `hold`, `cache`, `spill`; None: they wait"""
    requests: int
    served: int
    cached: int
    spilled: int
    refused: int
    unfinished: int
    first_token_s: Percentiles
    per_token_s: Percentiles
    whole_s: Percentiles
    output_tokens_per_s: float
    mean_replicas: float
    peak_replicas: int
    reversals: int
    reversals_per_hour: float | None
    attainment: float | None
    """share of all requests that met every bound of the SLO"""
    meets: bool | None
    """whether the SLO's percentiles hold"""
    cost_usd: str | None
    cost_parts_usd: dict[str, str | None]
    cp1kt_usd: str | None
    """cost per 1,000 tokens, input and output together, of what was answered"""
    oracle_usd: str | None
    """what a scaler that knows every window before it comes would have paid, without cold starts"""
    over_oracle: float | None
    binds: str
    """what most of the waiting was for"""
    light: str
    """of the simulated fleet: green, yellow, red or unknown"""
    advice: str

    @property
    def name(self) -> str:
        """With its shield, which rows of one policy differ by."""
        return f"{self.policy}, {self.shield}" if self.shield else self.policy


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One policy over time, at the instants of `Courses.at_s`."""

    policy: str
    replicas: tuple[float, ...]
    """those that serve"""
    first_token_p95_s: tuple[float | None, ...]
    cost_usd: tuple[float, ...] | None
    """so far; for the picture only: exact money is in the rows"""


class Courses(msgspec.Struct, frozen=True, kw_only=True):
    """What came, what was needed, and what each policy did."""

    at_s: tuple[float, ...]
    load_rps: tuple[float, ...]
    needed: tuple[float, ...] | None
    """replicas of the perfect scaler"""
    policies: tuple[Course, ...]


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The best that this hardware reaches where no row keeps the SLO."""

    replicas: int
    first_token_p95_s: float | None
    per_token_p95_s: float | None
    whole_p95_s: float | None
    meets: bool
    binds: str
    hint: str


class SimulationReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    id: str
    at_ns: int
    """when it was run, unix nanoseconds"""
    name: str
    trace: str
    """where the requests are from"""
    shape: tuple[str, ...]
    """of the trace, in lines"""
    hardware: str
    model: str
    gpu: str
    tensor_parallel: int
    usd_per_replica_hour: str | None
    price_source: str
    slo: str | None
    first_token_limit_s: float | None
    """the SLO's bound on the P95 of the first token"""
    duration_s: float
    requests: int
    seed: int
    rows: tuple[Row, ...]
    courses: Courses
    best: Best | None = None
    notes: tuple[str, ...] = ()
    """what is predicted, and what was assumed"""

    @property
    def cheapest(self) -> Row | None:
        """The row of least known cost among those that keep the SLO; without an SLO, among all."""
        fit = [row for row in self.rows if row.cost_usd is not None and row.meets is not False]
        return min(fit, key=lambda row: float(row.cost_usd or 0), default=None)


def keep(documents: Documents, report: SimulationReport) -> None:
    """Keeps a run, and the newest `MOST_KEPT` of all. Raises `StoreError`."""
    documents.put(Document(KIND, report.id, report.at_ns, msgspec.json.encode(report).decode()))
    for old in documents.since(KIND)[MOST_KEPT:]:
        documents.remove(KIND, old.id)


def kept(documents: Documents, limit: int | None = None) -> Sequence[SimulationReport]:
    """Runs that are kept, newest first; those that another version wrote and this one cannot read are left out. Raises `StoreError`."""
    found = (_read(document) for document in documents.since(KIND, limit=limit))
    return [report for report in found if report is not None]


def find(documents: Documents, id: str) -> SimulationReport | None:
    """Raises `StoreError`."""
    document = documents.get(KIND, id)
    return None if document is None else _read(document)


def _read(document: Document) -> SimulationReport | None:
    try:
        return msgspec.json.decode(document.body, type=SimulationReport)
    except msgspec.DecodeError:
        return None
