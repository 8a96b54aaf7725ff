"""What the meters of GPUs and engines tell of a fleet over an hour: how busy, prefill and decode seconds, joules, when how many ran.

They are asked of a Prometheus through the port `Telemetry`. A reading that is not there is None, and the note says why.
"""

import msgspec

from penstock.config.problems import Problem, error, join, warning
from penstock.config.settings import Settings
from penstock.domain.ledger.entries import EngineHour
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.slices import slice_share
from penstock.finops.meters.runs import running_units
from penstock.finops.meters.samples import BRIDGE, Grid, Samples, increase, mean, p95, within
from penstock.finops.meters.series import ALIVE, KINDS, Answers, Identity, Question, question, same_profile, selector
from penstock.ports.telemetry import Series, Telemetry, TelemetryError

HOUR_S = 3600
NOTHING = "the Prometheus has nothing of this time"
ABOVE_ONE = 10.0
"""readings of MIG slices above 1 (seen: 1.29) are taken for 1; from here on they are no shares at all, but percents"""


def engine_span(telemetry: Telemetry, asked: Question, since_s: float, until_s: float) -> EngineHour:
    """What is known of a span [since, until), unix seconds; `hour` is the one that it begins in. Raises `TelemetryError`."""
    answers = Answers(telemetry, asked, Grid.of(since_s, until_s))
    fleet, hour, grid = asked.fleet, int(since_s // HOUR_S), answers.grid
    if not answers.seen:
        return EngineHour(fleet=fleet, hour=hour, note=NOTHING)
    missing = grid.count - answers.seen
    if missing > BRIDGE:
        answers.note(f"the Prometheus has nothing of {missing / grid.count:.0%} of this time")
    active = _active(answers)
    reading = EngineHour(
        fleet=fleet,
        hour=hour,
        runs=running_units(answers),
        active=mean(active),
        active_p95=p95(active),
        prefill_s=_seconds(answers, "prefill", asked.metrics.prefill),
        decode_s=_seconds(answers, "decode", asked.metrics.decode),
        energy_j=_energy(answers, whole=missing <= BRIDGE),
    )
    return msgspec.structs.replace(reading, note=answers.notes())  # last, for each reading may add to it


def _active(answers: Answers) -> list[float]:
    """Shares of 1, of all GPUs and instants; empty when unknown."""
    own, grid = answers.asked.metrics.active, answers.grid
    told = [grid.samples(each) for each in answers.range(own)] if own is not None else list(answers.gpus("active").values())
    values = [value for samples in told for value in within(samples, grid)]
    if not values:
        _why_not_active(answers)
        return []
    highest = max(values)
    if min(values) < 0 or highest > (ABOVE_ONE if answers.asked.mig is not None else 1.05):
        answers.note(f"readings from {min(values):g} to {highest:g} are no shares of the time: they are left out")
        return []
    if highest > 1:
        answers.note(f"readings above 1 (up to {highest:.3g}) are taken for 1")
    return [min(value, 1.0) for value in values]


def _why_not_active(answers: Answers) -> None:
    asked = answers.asked
    if asked.metrics.active is not None or not asked.told_apart:
        return
    profiles = answers.profiles("active")
    if asked.mig is None and profiles and "" not in profiles:
        answers.note(f"its series are of MIG slices ({', '.join(sorted(profiles))}): name the profile with `mig`")
    elif asked.mig is not None and profiles and not any(same_profile(each, asked.mig) for each in profiles):
        answers.note(f"no series is of a {asked.mig} slice, only of {', '.join(sorted(each or 'whole cards' for each in profiles))}")
    elif asked.mig is None and answers.gpus("busy"):
        answers.note("only GPU_UTIL is told, which says that some kernel ran, not how busy the GPU was: add DCGM_FI_PROF_GR_ENGINE_ACTIVE")


def _seconds(answers: Answers, kind: str, own: str | None) -> dict[str, float]:
    """Growth of a counter of seconds by model, all replicas together."""
    told: list[tuple[Series, Samples]] = []
    if own is not None:
        told = [(series, answers.grid.samples(series)) for series in answers.range(own)]
    else:
        taken: set[str] = set()
        for meter in getattr(answers.names, kind):
            found = [] if meter.of in taken else answers.of(meter)
            told += [(series, answers.samples(series, meter)) for series in found]
            taken |= {meter.of} if found else set()
    seconds: dict[str, float] = {}
    for series, samples in told:
        grown = increase(samples)
        model = _model(answers, series)
        if grown is not None and model is not None:
            seconds[model] = seconds.get(model, 0.0) + grown
    return seconds


def _model(answers: Answers, series: Series) -> str | None:
    """The engine's name of the model that a series is of; the only one that the fleet serves needs no label."""
    models = answers.asked.models
    if len(models) == 1:
        return models[0]
    named = next((series.labels[label] for label in answers.names.labels.model if series.labels.get(label)), None)
    if named is None:
        answers.note("prefill and decode seconds carry no model_name, and the fleet serves several models")
    elif models and named not in models:
        answers.note(f"no model of the config is called `{named}` by its engine")
    return named


def _energy(answers: Answers, *, whole: bool) -> int | None:
    """Joules of all its GPUs; None when those of one are unknown. `whole`: no long part of the span was missed."""
    asked, grid = answers.asked, answers.grid
    own = asked.metrics.power
    if own is not None:
        counters: dict[Identity, dict[int, float]] = {}
        watts: dict[Identity, dict[int, float]] = {tuple(each.labels.items()): grid.samples(each) for each in answers.range(own)}
        present: dict[Identity, dict[int, float]] = {}
    else:
        counters, watts, present = answers.gpus("energy"), answers.gpus("power"), answers.gpus("present")
    gpus = {gpu for told in (counters, watts, present) for gpu, samples in told.items() if any(index > 0 for index in samples)}
    joules: list[float] = []
    for gpu in gpus:
        grown = increase(counters.get(gpu, {}))
        if grown is None and whole and (seen := within(watts.get(gpu, {}), grid)):
            grown = sum(seen) * grid.step_s
        if grown is not None:
            joules.append(grown)
    if not joules:
        return None
    if len(joules) < len(gpus):
        answers.note(f"the energy of {len(gpus) - len(joules)} of {len(gpus)} GPUs is unknown")
        return None
    if asked.mig is None or own is not None:
        return round(sum(joules))
    try:
        share = slice_share(asked.gpu, asked.mig)
    except PriceError:
        return None
    answers.note("energy is its slices' share of their cards'")
    return round(sum(joules) * share.numerator / share.denominator)


def reachable(telemetry: Telemetry, settings: Settings, now_s: float) -> tuple[list[Problem], dict[str, str]]:
    """For `penstock check --online`: whether the Prometheus answers, and which readings it has of each fleet now, in words by fleet."""
    found: list[Problem] = []
    facts: dict[str, str] = {}
    try:
        if not telemetry.instant(ALIVE, now_s):
            found.append(warning("telemetry.prometheus", "it answers, and has no series of its own", "does it scrape anything?"))
        for name in settings.fleets:
            asked = question(settings, name)
            if asked.told_apart:
                facts[name] = _told_now(telemetry, asked, now_s)
            if not facts.get(name) and asked.told_apart and not any(_expressions(asked)):
                hint = "check `match`, and that it scrapes the engine and DCGM"
                found.append(warning(f"{join('fleets', name)}.match", "the Prometheus has no series of this fleet now", hint))
            found += _expression_problems(telemetry, asked, now_s)
    except TelemetryError as problem:
        found.append(error("telemetry.prometheus", str(problem), problem.hint))
    return found, {name: fact for name, fact in facts.items() if fact}


def _expressions(asked: Question) -> list[tuple[str, str]]:
    metrics = asked.metrics
    return [(field, text) for field in metrics.__struct_fields__ if (text := getattr(metrics, field)) is not None]


def _expression_problems(telemetry: Telemetry, asked: Question, now_s: float) -> list[Problem]:
    found: list[Problem] = []
    for field, promql in _expressions(asked):
        where = f"{join('fleets', asked.fleet)}.metrics.{field}"
        try:
            if not any(series.points for series in telemetry.instant(promql, now_s)):
                found.append(warning(where, "it gives no number now", "try it on the Prometheus' own page"))
        except TelemetryError as problem:
            if not problem.refused:
                raise
            found.append(error(where, str(problem), problem.hint))
    return found


def _told_now(telemetry: Telemetry, asked: Question, now_s: float) -> str:
    """The readings that have series: `present, active, energy, prefill, decode`."""
    names = telemetry.names
    wanted = [meter for kind in KINDS for meter in getattr(names, kind)]
    told = {series.labels.get("__name__") for series in telemetry.instant(selector(wanted, asked.match), now_s)}
    return ", ".join(kind for kind in KINDS if any(meter.name in told for meter in getattr(names, kind)))
