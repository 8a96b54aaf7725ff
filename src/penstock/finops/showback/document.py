"""The review as a document: what is shown back to teams of a window, beside the window before. Every format is made from this.

Money is nano-USD in memory and a decimal string of USD in JSON, as unit costs are; shares are 0 to 1 (growth: 0.1 is 10 %
more); None is unknown, and never 0.
"""

from typing import Literal

import msgspec

from penstock.domain.sizing.traffic_light import THIN, TIGHT
from penstock.domain.units import format_usd
from penstock.finops.bills.document import Money
from penstock.finops.savings import LeverName

Held = Literal["on-demand", "spot", "reserved", "owned"]
Measured = Literal["first_token", "duration"]
Advice = Literal["commit", "release", "spot", "let_lapse", "keep", "unknown"]
Workload = Literal["inference", "training", "other", "shared", "all"]
STEADY = 0.7
"""share of the time that a unit must have run to be worth a commitment: one of at least 30 % off then pays"""
LOOK_BACK_DAYS = 30
"""procurement looks further back than a week (30 to 90 days are usual)"""
DEFINITIONS = {
    "growth": "what was spent and done per day, against the window before, each as far as the ledger reaches; of work: usage_usd. Requests "
    "that name no workload_type are inference",
    "usage_usd": "what a group's own requests and recorded runs caused: providers' bills, and the GPU-hours of own fleets that worked for "
    "them (failed, retried and aborted work included)",
    "idle_usd": "a share of what stood idle, unallocated or unused on the fleets that a group used, in proportion to its use of each; it "
    "is shown, not charged, whatever rule the bill has",
    "usd_per_request": "usage_usd of inference / requests answered (replayed answers included)",
    "cp1kt_usd": "usage_usd / tokens processed by models x 1000; answers from Penstock's cache process none",
    "cp1kt_input_usd": "list cost of input / input tokens processed x 1000, over requests whose two sides are priced apart",
    "cp1kt_output_usd": "list cost of output / output tokens (reasoning included) x 1000, over the same requests",
    "gpu_hours": "GPU-hours of own fleets that worked for a group, whole GPUs (slices by their share); recorded runs included",
    "capacity_gpu_hours": "GPU-hours that ran for a group: each fleet's, in proportion to who worked on it. What ran for nobody is a line "
    "of its own, so that the lines add up to all that ran",
    "utilization": "GPU-hours at work / GPU-hours that ran; of a team: gpu_hours / capacity_gpu_hours",
    "utilization_p95": "what 95 % of the hours stay at or below (nearest rank)",
    "over_provisioned": f"mean utilization below {THIN:.0%}; also where only an upper bound of it is known",
    "enough_units": "units with which 95 % of the hours would have been at "
    f"{TIGHT:.0%} or below: the P95 of the units at work / {TIGHT:g}, rounded up; of a fleet that only trains: the most that "
    "worked at once",
    "constrained": f"P95 utilization above {TIGHT:.0%}, or the P95 of its answers' times beyond their objective (read off histograms); "
    "a fleet that only trains may be used to the full",
    "steady_units": f"units that ran in at least {STEADY:.0%} of the time looked back on; an hour counts with its mean",
    "breaks_even_discount": "1 - the share of the time that the unit ran: a commitment at a greater discount would have paid",
    "realised_usd": "lever by lever, what the baseline would have cost less what was paid, over requests where both are known; below 0: "
    "paid on top",
    "projected_usd": "what a plan promises; unknown as long as nobody has made a plan",
}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A window in UTC, end exclusive; `covered`: as far as the ledger reaches back and time has passed."""

    since: str
    until: str
    covered_since: str
    covered_until: str
    days: float
    """covered"""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work: what was spent and done per day, against the window before."""

    workload: Workload
    """`shared`: what no work caused; it, the works and `other` are `all`"""
    usd: Money | None
    before_usd: Money | None
    measure: str
    """what `used` counts; one kind of work may be measured twice"""
    used: float | None
    before_used: float | None
    spend_growth: float | None
    usage_growth: float | None
    faster: bool | None
    """spend grows faster than usage"""
    note: str = ""


class TrainingBudget(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[budgets]]` of training in the period that holds the window's end; `limit` and `spent` in `unit`."""

    name: str
    limit_text: str
    unit: Literal["USD", "gpu-hours"]
    limit: str
    spent: str | None
    share: float | None
    elapsed: float
    """share of the period that is over"""
    within: bool | None
    since: str
    until: str
    note: str = ""


class VersionCost(msgspec.Struct, frozen=True, kw_only=True):
    """Unit costs of one version of a model, and of the window before; `change` is of usd_per_request."""

    model: str | None
    version: str | None
    optimization: str | None
    requests: int
    before_requests: int | None
    usage_usd: Money | None
    usd_per_request: str | None
    before_usd_per_request: str | None
    change: float | None
    cp1kt_usd: str | None
    before_cp1kt_usd: str | None
    cp1kt_input_usd: str | None
    before_cp1kt_input_usd: str | None
    cp1kt_output_usd: str | None
    before_cp1kt_output_usd: str | None


class TeamModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a team used of one model."""

    model: str | None
    requests: int
    usage_usd: Money | None
    usd_per_request: str | None


class TeamUse(msgspec.Struct, frozen=True, kw_only=True):
    """One team: what it used of the hardware that ran for it, and what its requests cost."""

    team: str | None
    requests: int
    unpriced: int
    usage_usd: Money | None
    runs_usd: Money
    """the part of it that no answer caused: training, and recorded costs"""
    idle_usd: Money
    usd_per_request: str | None
    before_usd_per_request: str | None
    change: float | None
    gpu_hours: float
    other_gpu_hours: float | None
    """of recorded runs beside own fleets; None: a run does not say"""
    capacity_gpu_hours: float
    share_of_gpu_hours: float | None
    """gpu_hours / all that own fleets ran"""
    utilization: float | None
    models: tuple[TeamModel, ...]


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a fleet's answers of one SLA were in time."""

    sla: str | None
    what: Measured
    within_s: float
    answers: int
    p95_s: float
    """approximate"""
    missed: bool


class FleetReview(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet: is it too large, is it too small. `upper_bound`: of its utilisation no more is known than that."""

    fleet: str
    gpu: str
    held: Held
    units: float | None
    """that ran, on average"""
    gpu_hours: float | None
    rent_usd: Money | None
    idle_usd: Money | None
    utilization: float | None
    utilization_p95: float | None
    upper_bound: bool
    basis: str
    over_provisioned: bool | None
    enough_units: int | None
    constrained: bool | None
    objectives: tuple[Objective, ...]
    note: str


class Lever(msgspec.Struct, frozen=True, kw_only=True):
    """One optimisation: what it earned, and what a plan promises of it."""

    name: LeverName
    meaning: str
    requests: int
    realised_usd: Money
    before_realised_usd: Money | None
    projected_usd: Money | None = None


class LevelCost(msgspec.Struct, frozen=True, kw_only=True):
    """Cost per request at one optimisation level (baseline, quantised, distilled ...)."""

    optimization: str | None
    requests: int
    usd_per_request: str | None
    before_usd_per_request: str | None
    change: float | None


class Procurement(msgspec.Struct, frozen=True, kw_only=True):
    """How one fleet is held, over the time looked back on, and what that says of the next contract."""

    fleet: str
    held: Held
    serves: bool
    """answers requests; else it trains"""
    rent_usd: Money | None
    unit_share: tuple[float, ...]
    """of the first unit, the second ...: share of the time that it ran"""
    steady_units: int | None
    enough_units: int | None
    committed_units: int
    candidate_units: int | None
    """steady and needed, and not committed to yet"""
    breaks_even_discount: float | None
    unused_usd: Money | None
    """commitment that was paid and did not run"""
    lost_gpu_hours: float
    """of recorded runs: work done again after a preemption"""
    advice: Advice
    note: str


class Showback(msgspec.Struct, frozen=True, kw_only=True):
    """The review of one window."""

    kind: Literal["week", "month", "window"]
    label: str
    timezone: str
    made: str
    window: Span
    before: Span
    total_usd: Money
    before_total_usd: Money | None
    """None: the ledger does not reach back so far"""
    growth: tuple[Growth, ...]
    training_budgets: tuple[TrainingBudget, ...]
    """none: no budget has a `where` of training"""
    versions: tuple[VersionCost, ...]
    teams: tuple[TeamUse, ...]
    nobody_gpu_hours: float
    """that fleets ran and nobody worked on"""
    fleet_gpu_hours: float
    """all that ran, as far as it is known"""
    fleets: tuple[FleetReview, ...]
    levers: tuple[Lever, ...]
    counterfactual_usd: Money
    """what the baseline would have cost, less every lever's amount, is `paid_usd`; over the `compared` requests"""
    paid_usd: Money
    compared: int
    baseline: str
    levels: tuple[LevelCost, ...]
    procurement: tuple[Procurement, ...]
    looked_back: Span
    requests: int
    priced: int
    estimated: int
    asides: int = 0
    """calls made for requests that are not their answer"""
    asides_priced: int = 0
    unknown: tuple[str, ...]
    definitions: dict[str, str]

    @property
    def priced_share(self) -> float | None:
        """Of requests and asides, those that have a price; None where there was nothing that could cost."""
        whole = self.requests + self.asides
        return (self.priced + self.asides_priced) / whole if whole else None


def showback_bytes(showback: Showback) -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(showback, enc_hook=_written), indent=2) + b"\n"


def _written(value: object) -> object:
    if isinstance(value, Money):
        return format_usd(value)
    raise NotImplementedError(f"a review holds no {type(value).__name__}")
