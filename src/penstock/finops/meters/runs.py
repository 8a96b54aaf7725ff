"""When how many units of a fleet ran, as far as a Prometheus saw them: none of them running is told from nobody looking."""

from collections import Counter
from collections.abc import Iterable

from penstock.finops.meters.samples import BEFORE, Samples, run_steps
from penstock.finops.meters.series import UP, Answers, selector
from penstock.ports.telemetry import Series

MEMORY = "15d"
"""a fleet whose series were there within this time, and are not now, does not run; other series it may never have had"""
Steps = tuple[tuple[int, int], ...]


def running_units(answers: Answers) -> Steps | None:
    """(unix ns, units from then on) over the span; None when that is not asked, or not known for all of it."""
    asked = answers.asked
    if not asked.runs:
        return None
    if asked.metrics.replicas is not None:
        return _by_expression(answers, asked.metrics.replicas)
    if not asked.told_apart:
        return None
    gpus = answers.gpus("present")
    before = _seen_before(answers) if not gpus else None
    told_by_gpus = bool(gpus) or any(_name(each) != UP.name for each in before or ())
    counts = _by_gpus(gpus.values()) if told_by_gpus else _by_up(answers)
    if _steady(answers, counts):
        return _steps(answers, counts, set())
    before = _seen_before(answers) if before is None else before
    if not before:
        answers.note(f"nothing of it was seen within {MEMORY}: check its `match`")
        return None
    return _steps(answers, counts, _unread(answers) | _silent(answers, before) if told_by_gpus else set())


def _by_gpus(gpus: Iterable[Samples]) -> dict[int, int]:
    """GPUs (or slices) that told of themselves."""
    return dict(Counter(index for samples in gpus for index in samples))


def _by_up(answers: Answers) -> dict[int, int]:
    """Targets that answered: used where no exporter tells of GPUs."""
    counts: dict[int, int] = {}
    for series in answers.of(UP):
        for index, value in answers.grid.samples(series).items():
            counts[index] = counts.get(index, 0) + (value == 1)
    if counts:
        answers.note("running units are its targets that answered (`up`)")
    return counts


def _by_expression(answers: Answers, promql: str) -> Steps | None:
    sums: dict[int, float] = {}
    found = answers.range(promql)
    for series in found:
        for index, value in answers.grid.samples(series).items():
            sums[index] = sums.get(index, 0.0) + value
    if any(value < 0 or abs(value - round(value)) > 1e-6 for value in sums.values()):
        answers.note("`metrics.replicas` gives counts that are not whole")
        return None
    counts = {index: round(value) for index, value in sums.items()}
    if not _steady(answers, counts) and not sums and not answers.instant(f"count_over_time(({promql})[{MEMORY}:5m])"):
        answers.note(f"`metrics.replicas` gave nothing within {MEMORY}")
        return None
    return _steps(answers, counts, {index for series in found for index in _not_numbers(answers, series)})


def _steady(answers: Answers, counts: dict[int, int]) -> bool:
    """The same number at every instant that was looked at: nothing went away."""
    seen = {counts.get(index, 0) for index in answers.alive}
    return len(seen) == 1 and seen != {0}


def _steps(answers: Answers, counts: dict[int, int], unseen: set[int]) -> Steps | None:
    away = set(range(-BEFORE, answers.grid.count + 1)) - answers.alive
    steps = run_steps(counts, unseen | away, answers.grid)
    if steps is None:
        answers.note("for a part of this time nobody saw how many units ran")
    return steps


def _unread(answers: Answers) -> set[int]:
    """Instants at which a reading of presence was no number."""
    series = [each for meter in answers.names.present for each in answers.of(meter)]
    return {index for each in series for index in _not_numbers(answers, each)}


def _not_numbers(answers: Answers, series: Series) -> set[int]:
    return set(answers.grid.samples(Series(series.labels, tuple((at, 0.0) for at in series.dropped))))


def _seen_before(answers: Answers) -> list[Series]:
    """The fleet's series of presence that were there at some time lately."""
    asked, names = answers.asked, answers.names
    meters = [*names.present, UP] if asked.match else list(names.present)
    found = answers.instant(f"last_over_time({selector(meters, asked.match)}[{MEMORY}])")
    by_name = {meter.name: meter for meter in meters}
    return [each for each in found if answers.fits(each, by_name.get(_name(each), UP))]


def _silent(answers: Answers, before: list[Series]) -> set[int]:
    """Instants at which a target that had told of this fleet's GPUs was there and did not answer: they may have run on unseen."""
    targets = {_target(each) for each in before if _name(each) != UP.name}
    if not targets:
        return set()
    down = [each for each in answers.range("up == 0") if _target(each) in targets]
    return {index for each in down for index in answers.grid.samples(each)}


def _name(series: Series) -> str:
    return series.labels.get("__name__", "")


def _target(series: Series) -> tuple[str | None, str | None]:
    return series.labels.get("job"), series.labels.get("instance")
