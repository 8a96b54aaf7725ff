"""How the rent of own hardware is split over the requests that it served: by work, what nobody used stays idle.

One piece of an hour at a time, for one pool: the fleets behind one upstream, each of which serves all of the pool's requests.
Exact: what the requests bear, waste, idle, unallocated and unused add up to the rent, to the nano-USD.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import isfinite, lcm

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Allocation, EngineHour, FleetHour, Work, WorkBasis
from penstock.domain.ledger.loads import (
    Load,
    Weights,
    even_weights,
    loads_in,
    measured_weights,
    occupied_ns,
    token_weights,
    work_tokens,
)
from penstock.domain.prices.hardware import Rent
from penstock.domain.units import NANO_PER_USD, split

NS_PER_S = 10**9


class Piece(msgspec.Struct, frozen=True):
    """[since_ns, until_ns) within one UTC hour."""

    since_ns: int
    until_ns: int

    @property
    def hour(self) -> int:
        return self.since_ns // HOUR_NS


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one fleet over the WHOLE hour of the piece; None and absent are unknown."""

    active: Fraction | None = None
    """mean share of the time in which its GPUs worked, 0 to 1"""
    active_p95: float | None = None
    prefill_s: Mapping[str, Fraction] = {}
    """the engine's name of a model -> seconds of prefill"""
    decode_s: Mapping[str, Fraction] = {}
    energy_j: int | None = None
    names: Mapping[str, str] = {}
    """configured name of a model -> the engine's name of it; absent: the same"""


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet of the pool in the piece."""

    rent: Rent | None
    """None: unknown; `note` then says why"""
    planned: Fraction | None = None
    """output tokens per second that ONE running unit is planned to generate (`Holding.planned`)"""
    engine: Engine | None = None
    note: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded run (training, evaluation) on a fleet: `units` in use all the time, `lost` of its work (0 to 1) done again."""

    id: str
    fleet: str
    units: Fraction
    since_ns: int
    until_ns: int
    lost: Fraction = Fraction(0)


def engine_of(reading: EngineHour, names: Mapping[str, str] | None = None) -> Engine:
    """The reading with exact figures; what is no finite number of 0 or more is left out, for it tells nothing.

    `names`: configured name of a model -> the engine's, where the two differ.
    """
    active = _known(reading.active)
    return Engine(
        active=None if active is None else min(Fraction(1), active),
        active_p95=reading.active_p95,
        prefill_s={name: value for name, told in reading.prefill_s.items() if (value := _known(told)) is not None},
        decode_s={name: value for name, told in reading.decode_s.items() if (value := _known(told)) is not None},
        energy_j=reading.energy_j,
        names=names or {},
    )


def allocate(
    piece: Piece, fleets: Mapping[str, Rented], works: Iterable[Work], runs: Sequence[Run] = ()
) -> tuple[list[FleetHour], list[Allocation]]:
    """One row per fleet, by name, and what each request (and recorded run) bears of it; who bears nothing is left out.

    `works`: those that touched a fleet of the pool, in any order, each id once; those outside of the piece are left out, but where
    engines are measured give all of the hour, as seconds per token are those of the hour.

    Recorded runs take their units first; the requests share the busy part of what is left: by the engine's own meter (`active`),
    else by work over planned work, else by the time in which some request was under way. It is split by the engine's seconds of
    prefill and decode per token of each model where these are known for every model, else by tokens (`INPUT_WORK`).
    Raises `ValueError` for a piece that is empty or crosses an hour.
    """
    if not piece.since_ns < piece.until_ns <= (piece.hour + 1) * HOUR_NS:
        raise ValueError("a piece lies within one hour")
    everything = list(works)
    loads = loads_in(everything, fleets, piece.since_ns, piece.until_ns)
    hourly = loads
    if piece.until_ns - piece.since_ns < HOUR_NS and any(rented.engine is not None for rented in fleets.values()):
        hourly = loads_in(everything, fleets, piece.hour * HOUR_NS, (piece.hour + 1) * HOUR_NS)
    taken = {name: _taken(piece, rented.rent, [run for run in runs if run.fleet == name]) for name, rented in fleets.items()}
    planned = _planned_share(fleets, taken, loads)
    tokens = token_weights(loads)
    hours: list[FleetHour] = []
    allocations: list[Allocation] = []
    for name in sorted(fleets):
        rented = fleets[name]
        blank = _blank(name, piece, rented, sum(load.admitted_ns >= piece.since_ns for load in loads))
        if rented.rent is None:
            hours.append(blank)
            continue
        weights, note = _weights(rented.engine, loads, hourly, tokens)
        busy = _busy(piece, rented.engine, loads, planned)
        energy = _energy(rented.engine, piece, 1000)
        whole = (rented.rent.running, rented.rent.gpu_ns, energy or 0)
        reserved = _portion(whole, taken[name].share)
        worked = _portion(_less(whole, reserved), busy.share)
        borne = _run_parts(blank, taken[name], reserved, energy is not None)
        borne += _request_parts(blank, loads, weights, worked, energy is not None)
        hours.append(_hour(blank, rented.rent, borne, busy, taken[name], note))
        allocations += borne
    return hours, allocations


def utilization(hours: Iterable[FleetHour]) -> Fraction | None:
    """GPU time that worked (waste included) over GPU time that ran; None where none ran."""
    worked = ran = 0
    for hour in hours:
        worked += hour.work_gpu_ns
        ran += hour.gpu_ns
    return Fraction(worked, ran) if ran else None


def productive_gpu_ns(hour: FleetHour) -> Fraction:
    """GPU time of work that brought an answer: `work_gpu_ns` less its share of waste."""
    worked = hour.used + hour.waste
    return hour.work_gpu_ns * Fraction(hour.used, worked) if worked else Fraction(hour.work_gpu_ns)


def effective_usd_per_gpu_hour(hours: Iterable[FleetHour]) -> Fraction | None:
    """All rent (idle, waste, unused and unallocated included) / productive GPU-hours; None when a rent is unknown or nothing was
    productive."""
    rent, productive = 0, Fraction(0)
    for hour in hours:
        if hour.rent is None:
            return None
        rent += hour.rent
        productive += productive_gpu_ns(hour)
    return Fraction(rent, NANO_PER_USD) * HOUR_NS / productive if productive else None


Quantities = tuple[int, int, int]
"""nano-USD, GPU nanoseconds, millijoules: three things that are split the same way"""


class _Busy(msgspec.Struct, frozen=True):
    basis: WorkBasis
    share: Fraction
    note: str = ""


class _Taken(msgspec.Struct, frozen=True):
    """Recorded runs on one fleet in the piece: their share of what ran, and the weight of each."""

    runs: Sequence[Run]
    weights: list[int]
    share: Fraction
    note: str = ""


def _taken(piece: Piece, rent: Rent | None, runs: Sequence[Run]) -> _Taken:
    overlaps = [(run, min(run.until_ns, piece.until_ns) - max(run.since_ns, piece.since_ns)) for run in runs]
    present = sorted(((run, run.units * overlap) for run, overlap in overlaps if overlap > 0), key=lambda pair: pair[0].id)
    worked = sum((weight for _, weight in present), Fraction(0))
    if rent is None or not worked:
        return _Taken((), [], Fraction(0))
    if not rent.units_ns:
        return _Taken((), [], Fraction(0), "a run is recorded while none of its units ran, so it bears nothing")
    scale = lcm(*(weight.denominator for _, weight in present))
    note = "recorded runs took more units than ran" if worked > rent.units_ns else ""
    weights = [int(weight * scale) for _, weight in present]
    return _Taken([run for run, _ in present], weights, min(Fraction(1), worked / rent.units_ns), note)


def _planned_share(fleets: Mapping[str, Rented], taken: Mapping[str, _Taken], loads: Sequence[Load]) -> Fraction | None:
    """The pool's work over what was planned for the units that ran beside recorded runs; above 1 when it did more. None: unknown."""
    capacity = Fraction(0)
    for name, rented in fleets.items():
        if rented.rent is not None and not rented.rent.units_ns:
            continue
        if rented.rent is None or rented.planned is None:
            return None
        capacity += rented.planned * rented.rent.units_ns * (1 - taken[name].share) / NS_PER_S
    work = work_tokens(loads)
    return work / capacity if capacity and work else None


def _busy(piece: Piece, engine: Engine | None, loads: Sequence[Load], planned: Fraction | None) -> _Busy:
    """The share of the time, beside recorded runs, in which the fleet worked for the pool's requests."""
    active = None if engine is None or engine.active is None else min(Fraction(1), max(Fraction(0), engine.active))
    if not loads:
        return _Busy("none", Fraction(0), "its GPUs worked, but for no request or run that is known here" if active else "")
    if active:
        return _Busy("engine", active)
    note = "" if active is None else "its meters show no work though it served requests"
    if planned is None:
        return _Busy("occupied", Fraction(occupied_ns(loads), piece.until_ns - piece.since_ns), note)
    over = "did more than was planned of it: raise planned_tokens_per_second" if planned > 1 else ""
    return _Busy("planned", min(Fraction(1), planned), _joined(note, over))


def _weights(engine: Engine | None, loads: Sequence[Load], hourly: Sequence[Load], tokens: Weights) -> tuple[Weights, str]:
    note = ""
    if engine is not None and (engine.prefill_s or engine.decode_s):
        measured = measured_weights(loads, hourly, engine.prefill_s, engine.decode_s, engine.names)
        if isinstance(measured, str):
            note = f"split by tokens: its engine tells no seconds of model `{measured}`"
        elif measured.total:
            return measured, ""
    return (tokens if tokens.total else even_weights(loads)), note


def _request_parts(blank: FleetHour, loads: Sequence[Load], weights: Weights, worked: Quantities, metered: bool) -> list[Allocation]:
    if not loads:
        return []
    done = [prefill + decode for prefill, decode in zip(weights.prefill, weights.decode, strict=True)]
    count, wasteful = len(loads), any(weights.wasted)
    parts = [split(quantity, done + weights.wasted if wasteful else done) for quantity in worked]
    nothing = [0] * count
    (amounts, times, energies), (wastes, lost_times, lost_energies) = (
        [part[:count] for part in parts],
        [part[count:] if wasteful else nothing for part in parts],
    )
    found = []
    for index, load in enumerate(loads):
        amount, wasted, gpu_ns = amounts[index], wastes[index], times[index] + lost_times[index]
        energy = energies[index] + lost_energies[index]
        if amount or wasted or gpu_ns or energy:
            found.append(
                Allocation(
                    fleet=blank.fleet,
                    hour=blank.hour,
                    request_id=load.id,
                    amount=amount,
                    wasted=wasted,
                    input_amount=amount * weights.prefill[index] // done[index] if amount else 0,
                    gpu_ns=gpu_ns,
                    energy_mj=energy if metered else None,
                )
            )
    return found


def _run_parts(blank: FleetHour, taken: _Taken, reserved: Quantities, metered: bool) -> list[Allocation]:
    found = []
    parts = zip(taken.runs, *(split(quantity, taken.weights) for quantity in reserved), strict=True)
    for run, amount, gpu_ns, energy in parts:
        wasted = round(amount * min(Fraction(1), run.lost))
        if amount or gpu_ns or energy:
            energy_mj = energy if metered else None
            found.append(
                Allocation(
                    fleet=blank.fleet,
                    hour=blank.hour,
                    request_id=run.id,
                    amount=amount - wasted,
                    wasted=wasted,
                    gpu_ns=gpu_ns,
                    energy_mj=energy_mj,
                )
            )
    return found


def _blank(name: str, piece: Piece, rented: Rented, requests: int) -> FleetHour:
    """What is known of the hour before anything is split."""
    engine = rented.engine or Engine()
    return FleetHour(
        fleet=name,
        hour=piece.hour,
        since_ns=piece.since_ns,
        until_ns=piece.until_ns,
        rent=None if rented.rent is None else rented.rent.total,
        requests=requests,
        active=None if engine.active is None else float(engine.active),
        active_p95=engine.active_p95,
        energy_j=_energy(rented.engine, piece, 1),
        note=rented.note,
    )


def _hour(blank: FleetHour, rent: Rent, borne: Sequence[Allocation], busy: _Busy, taken: _Taken, note: str) -> FleetHour:
    used, waste = sum(each.amount for each in borne), sum(each.wasted for each in borne)
    return msgspec.structs.replace(
        blank,
        used=used,
        waste=waste,
        idle=rent.running - used - waste,
        unallocated=rent.unallocated,
        unused=rent.unused,
        gpu_ns=rent.gpu_ns,
        work_gpu_ns=sum(each.gpu_ns for each in borne),
        units_ns=rent.units_ns,
        basis="occupied" if busy.basis == "none" and taken.runs else busy.basis,
        note=_joined(blank.note, note, busy.note, taken.note),
    )


def _energy(engine: Engine | None, piece: Piece, per_joule: int) -> int | None:
    """Energy of the piece, the hour's spread evenly over it."""
    if engine is None or engine.energy_j is None:
        return None
    begin = piece.hour * HOUR_NS
    energy = engine.energy_j * per_joule
    return energy * (piece.until_ns - begin) // HOUR_NS - energy * (piece.since_ns - begin) // HOUR_NS


def _portion(whole: Quantities, share: Fraction) -> Quantities:
    return round(whole[0] * share), round(whole[1] * share), round(whole[2] * share)


def _less(whole: Quantities, part: Quantities) -> Quantities:
    return whole[0] - part[0], whole[1] - part[1], whole[2] - part[2]


def _known(told: float | None) -> Fraction | None:
    return None if told is None or not isfinite(told) or told < 0 else Fraction(told)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
