"""What `penstock simulate` was asked for, in the terms of the simulator: the replica, and how the fleet of them is run."""

import time
from typing import TYPE_CHECKING, NamedTuple

from penstock.cli.output import FAILED, WRONG_USAGE, CommandError
from penstock.cli.simulate_reading import Given

if TYPE_CHECKING:
    from fractions import Fraction

    from penstock.capacity.replaying import Spot
    from penstock.capacity.replicas import Hardware
    from penstock.capacity.simulating import Plan
    from penstock.config.settings import Settings
    from penstock.domain.simulation.shield import Shield, SpillPrices

KV_BITS = {"bf16": 16, "fp16": 16, "fp8": 8}
SHIELDS = "`hold`, `spill`, `cache=0.3` or `cache+spill=0.3`"


class Wanted(NamedTuple):
    """Hardware and scaling, as they were asked for."""

    model: str | None
    gpu: str | None
    tp: int | None
    form: str | None
    kv: str
    fleet: str | None
    usd_per_hour: str | None
    offer: str | None
    cold_start: str
    spot: str | None
    max_sequences: int
    replicas: int | None
    least: int | None
    most: int | None
    policies: list[str]
    workload: str | None
    slo: str
    shields: list[str]
    spill: str | None
    routing: str


class _Fleet(NamedTuple):
    """Of the config."""

    gpu: str
    gpus: int
    model: str | None
    usd_per_hour: "Fraction | None"


def hardware_of(wanted: Wanted, settings: "Settings | None") -> "Hardware":
    """The replica. Raises `CommandError`, `OSError`."""
    from penstock.bootstrap.simulating import Misnamed, Named, hardware
    from penstock.capacity.replicas import DoesNotFit

    try:
        fleet = _fleet(wanted, settings)
        model, gpu = wanted.model or (fleet and fleet.model), wanted.gpu or (fleet and fleet.gpu)
        if model is None:
            raise CommandError("no model is named", "pass --model llama-3.1-8b, or its config.json", WRONG_USAGE)
        if gpu is None:
            raise CommandError("no GPU is named", "pass --gpu L40S, or --fleet for one of the config", WRONG_USAGE)
        own = fleet.usd_per_hour if fleet is not None and wanted.gpu is None and wanted.offer is None else None
        usd = None if wanted.usd_per_hour is None else _usd(wanted.usd_per_hour, "--usd-per-hour 2.50")
        named = Named(
            model=model, gpu=gpu, tensor_parallel=wanted.tp, format=wanted.form, kv_bits=_kv_bits(wanted.kv),
            usd_per_hour=usd, offer=wanted.offer, spot=wanted.spot is not None,
            cold_start_s=_seconds("--cold-start", wanted.cold_start), max_sequences=wanted.max_sequences, fleet_price=own,
        )  # fmt: skip
        return hardware(named, settings)
    except Misnamed as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    except DoesNotFit as problem:
        raise CommandError(str(problem), problem.hint, FAILED) from None


def plan_of(wanted: Wanted, hardware: "Hardware", settings: "Settings | None", seed: int, given: Given) -> "Plan":
    """How the fleet is run. Raises `CommandError`."""
    from penstock.capacity.simulating import Plan
    from penstock.config.problems import nearest
    from penstock.domain.simulation.fleet import ROUTINGS
    from penstock.domain.simulation.slo import SloError, parse_slo

    routing = next((each for each in ROUTINGS if each == wanted.routing), None)
    if routing is None:
        raise CommandError(f"there is no routing `{wanted.routing}`", nearest(wanted.routing, ROUTINGS, ", ".join(ROUTINGS)), WRONG_USAGE)
    fleet, spill = _fleet(wanted, settings), _spill(wanted.spill)
    replicas = wanted.replicas or (fleet.gpus // hardware.deployment.devices if fleet is not None else 0) or None
    _check_names(wanted)
    try:
        slo = parse_slo(wanted.slo)
    except SloError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    least = wanted.least if wanted.least is not None else 0 if wanted.shields or wanted.workload else 1
    if wanted.most is not None and wanted.most < max(least, replicas or 1):
        raise CommandError(f"--max {wanted.most} is below the least number of replicas", "raise --max", WRONG_USAGE)
    if wanted.most == least and wanted.policies:
        raise CommandError(f"with {least} replicas at least and at most a policy has nothing to scale", "raise --max", WRONG_USAGE)
    return Plan(
        policies=tuple(wanted.policies), shields=tuple(_shield(each, spill) for each in wanted.shields),
        spill=None if spill is None else spill.prices, replicas=replicas,
        least=least, most=wanted.most, workload=wanted.workload, slo=slo, slo_words=wanted.slo, routing=routing,
        cache_hit_rate=given.hit_rate, spot=None if wanted.spot is None else _spot(wanted.spot), seed=seed, midnight_s=given.midnight_s,
    )  # fmt: skip


def _check_names(wanted: Wanted) -> None:
    """Before anything takes long. Raises `CommandError`."""
    from penstock.domain.simulation.scaling.classes import find_workload
    from penstock.domain.simulation.scaling.named import PolicyError, find_policy

    try:
        for text in wanted.policies:
            find_policy(text)
        if wanted.workload is not None:
            find_workload(wanted.workload)
    except PolicyError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    except (LookupError, ValueError) as problem:
        raise CommandError(str(problem), "see `penstock simulate --help`", WRONG_USAGE) from None


def _fleet(wanted: Wanted, settings: "Settings | None") -> _Fleet | None:
    """Raises `Misnamed`."""
    if wanted.fleet is None or settings is None:
        return None
    from penstock.bootstrap.simulating import fleet_named

    return _Fleet(*fleet_named(wanted.fleet, settings, time.time_ns()))


class _Spill(NamedTuple):
    """The API that requests are spilled to."""

    after_s: float
    ttft_s: float
    tpot_s: float
    prices: "SpillPrices | None"


def _spill(text: str | None) -> _Spill | None:
    from penstock.domain.simulation.shield import Shield, SpillPrices
    from penstock.domain.simulation.trace import TraceError
    from penstock.domain.simulation.traffic import pairs_of, seconds_of

    if text is None:
        return None
    usual = Shield()
    try:
        given = pairs_of(text, ("after", "ttft", "tpot", "input", "output"), "after=5s,ttft=500ms,tpot=20ms,input=0.15,output=0.60")
        times = {name: seconds_of(name, given[name]) for name in ("after", "ttft", "tpot") if name in given}
    except TraceError as problem:
        raise CommandError(f"--spill: {problem}", problem.hint, WRONG_USAGE) from None
    prices = None
    if "input" in given and "output" in given:
        prices = SpillPrices(input=_usd(given["input"], "--spill input=0.15"), output=_usd(given["output"], "--spill output=0.60"))
    return _Spill(
        times.get("after", usual.spill_after_s), times.get("ttft", usual.spill_ttft_s), times.get("tpot", usual.spill_tpot_s), prices
    )


def _shield(text: str, spill: _Spill | None) -> "tuple[str, Shield]":
    from typing import get_args

    from penstock.domain.simulation.shield import Shield, ShieldMode

    name, equals, rate = text.strip().partition("=")
    mode = next((each for each in get_args(ShieldMode) if each == name.replace("spill+cache", "cache+spill")), None)
    try:
        hit_rate = float(rate) if equals else 0.0
    except ValueError:
        hit_rate = -1.0
    if mode is None or not 0 <= hit_rate <= 1 or bool(equals) != ("cache" in name):
        raise CommandError(
            f"`--shield {text}` means nothing", f"write {SHIELDS}: the share is of requests that the cache answers", WRONG_USAGE
        )
    usual = Shield() if spill is None else Shield(spill_after_s=spill.after_s, spill_ttft_s=spill.ttft_s, spill_tpot_s=spill.tpot_s)
    return text.strip(), Shield(
        mode=mode, hit_rate=hit_rate, spill_after_s=usual.spill_after_s, spill_ttft_s=usual.spill_ttft_s, spill_tpot_s=usual.spill_tpot_s
    )


def _spot(text: str) -> "Spot":
    from penstock.capacity.replaying import Spot
    from penstock.domain.simulation.trace import TraceError
    from penstock.domain.simulation.traffic import pairs_of, seconds_of

    try:
        given = pairs_of(text, ("mtbf", "back"), "mtbf=6h,back=10m")
        times = {name: seconds_of(name, value) for name, value in given.items()}
    except TraceError as problem:
        raise CommandError(f"--spot: {problem}", problem.hint, WRONG_USAGE) from None
    if times.get("mtbf", 0) <= 0:
        raise CommandError("--spot does not say how often a machine is taken away", "write `--spot mtbf=6h`", WRONG_USAGE)
    return Spot(times["mtbf"], times.get("back", Spot(1.0).back_s))


def _kv_bits(text: str) -> int:
    if text not in KV_BITS:
        raise CommandError(f"keys and values in `{text}` are not known", f"write {' or '.join(KV_BITS)}", WRONG_USAGE)
    return KV_BITS[text]


def _usd(text: str, example: str) -> "Fraction":
    from penstock.domain.prices.config_price import PriceError, exact

    try:
        return exact(text)
    except PriceError:
        raise CommandError(
            f"`{text}` is not a price", "write USD per hour of a replica, such as `--usd-per-hour 2.50`", WRONG_USAGE
        ) from None


def _seconds(option: str, text: str) -> float:
    from penstock.domain.units import Duration, UnitError

    try:
        return float(Duration.parse(text))
    except UnitError as problem:
        raise CommandError(f"{option}: {problem}", f"write it like `{option} 180s`", WRONG_USAGE) from None
