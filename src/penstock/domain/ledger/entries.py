"""Rows of the ledger beside the usage records: rented hours and their split, what engines told, recorded runs, closed months.

Money is nano-USD, GPU time is nanoseconds of whole GPUs, hours are numbered since 1970 in UTC. None is unknown.
"""

from typing import Literal

import msgspec

from penstock.domain.prices.schedule import HOUR_NS as HOUR_NS

LOOKBACK_NS = 24 * HOUR_NS
"""what a request did later than this after its admission is not looked for: its hours hold what it did until then"""

WorkBasis = Literal["engine", "planned", "occupied", "none"]
"""How the busy part of an hour is known: by the engine's own meters, by work over planned work, by the time in which some
request was in flight, or not at all (nobody asked: all idle)."""


class FleetHour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fleet over [since_ns, until_ns) within one hour: `rent` = used + waste + idle + unallocated + unused, exactly."""

    fleet: str
    hour: int
    since_ns: int
    until_ns: int
    rent: int | None
    """all that is paid for these minutes; None: unknown, and `note` says why"""
    used: int = 0
    """work that brought an answer, and recorded runs"""
    waste: int = 0
    """work that brought none: failed, retried, aborted"""
    idle: int = 0
    unallocated: int = 0
    """the rest of a card that no slice covers"""
    unused: int = 0
    """committed, paid for and not running"""
    gpu_ns: int = 0
    """GPU time that ran: whole GPUs, slices by their share"""
    work_gpu_ns: int = 0
    """the part of it that worked, waste included"""
    units_ns: int = 0
    """running units (GPUs or slices) times nanoseconds"""
    requests: int = 0
    basis: WorkBasis = "none"
    active: float | None = None
    """mean share of the time in which the GPUs worked, 0 to 1, as telemetry told"""
    active_p95: float | None = None
    energy_j: int | None = None
    note: str = ""


class Allocation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one request (or recorded run) bears of one fleet's hour."""

    fleet: str
    hour: int
    request_id: str
    amount: int
    """for work that brought an answer"""
    wasted: int = 0
    """for work that brought none"""
    input_amount: int = 0
    """the part of `amount` for input (prefill)"""
    gpu_ns: int = 0
    energy_mj: int | None = None
    """millijoules"""


class Allocated(msgspec.Struct):
    """Sums over allocations. Additive."""

    entries: int = 0
    amount: int = 0
    wasted: int = 0
    input_amount: int = 0
    gpu_ns: int = 0
    energy_mj: int = 0
    """of the entries whose energy is known"""
    energy_entries: int = 0

    def add(self, other: "Allocated") -> None:
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class EngineHour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What telemetry told of one fleet over one hour, kept because its own memory is short. None and absent are unknown."""

    fleet: str
    hour: int
    runs: tuple[tuple[int, int], ...] | None = None
    """(unix ns, running units from then on), the first one at the hour's begin; None: not asked or not answered"""
    active: float | None = None
    active_p95: float | None = None
    prefill_s: dict[str, float] = {}
    """the engine's name of a model -> seconds of prefill in that hour"""
    decode_s: dict[str, float] = {}
    energy_j: int | None = None
    note: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cost without a request, recorded by somebody: a training run, an evaluation, anything with a price."""

    id: str
    kind: Literal["training_run", "other"]
    name: str
    since_ns: int
    until_ns: int
    recorded_ns: int
    tags: dict[str, str] = {}
    fleet: str | None = None
    """own fleet that it ran on: its GPU time is then part of that fleet's rent"""
    gpus: str = "0"
    """units in use, a decimal"""
    gpu_hours: str | None = None
    lost_gpu_hours: str = "0"
    """of those, work that was lost to preemption and done again"""
    gpu_cost: int | None = 0
    """of hardware that no fleet of the config stands for; None: unknown"""
    storage_cost: int = 0
    transfer_cost: int = 0
    engineering_cost: int = 0
    """people's time"""
    other_cost: int = 0

    @property
    def cost(self) -> int | None:
        """All that is paid beside the rent of own fleets."""
        if self.gpu_cost is None:
            return None
        return self.gpu_cost + self.storage_cost + self.transfer_cost + self.engineering_cost + self.other_cost


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen month. `number` counts closes from 1; `bill` is the bill as it was, byte for byte."""

    number: int
    month: str
    timezone: str
    since_ns: int
    until_ns: int
    closed_ns: int
    inputs_sha256: str
    total: int
    bill: str


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What allocation needs of a record that own hardware served (or tried to)."""

    id: str
    admitted_ns: int
    duration_us: int
    fleet: str | None
    """that its answer came from; None: only `wasted` touched own fleets"""
    model: str | None
    input: int
    """tokens that were prefilled: uncached input and cache writes"""
    output: int
    answered: bool
    """it brought an answer: else all of its work is waste"""
    wasted: tuple[tuple[str, int, int], ...] = ()
    """(fleet, input, output) of tries that brought none"""
