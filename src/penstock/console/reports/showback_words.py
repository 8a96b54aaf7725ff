"""The review in sentences: each question, and its answer from the figures. What is unknown is said so."""

from collections.abc import Iterator, Sequence

import msgspec

from penstock.console.savings import NAMES
from penstock.console.words import join, percent, plural, signed_usd, usd
from penstock.domain.units import format_usd
from penstock.finops.bills.document import Money
from penstock.finops.showback.document import FleetReview, Growth, Procurement, Showback, TeamUse, TrainingBudget, VersionCost

NO_PLAN = "What is projected is unknown: nobody has made a plan yet."
NO_FLEETS = "Nothing is rented that Penstock knows of."
MANY = 100
"""requests in either window that a version must have for its change to be worth a word"""
ADVICE = {
    "commit": "commit",
    "release": "give back",
    "spot": "move to spot",
    "let_lapse": "let lapse",
    "keep": "keep",
    "unknown": "unknown",
}
"""advice -> what a reader is told"""


class Answer(msgspec.Struct, frozen=True):
    """One question of the review."""

    id: str
    question: str
    answer: str


def answers(review: Showback) -> tuple[Answer, ...]:
    """All questions, in the order of the report."""
    return (
        Answer("growth", "Is spend growing faster than usage?", _growth(review.growth)),
        Answer("training", "Is training within its budget?", _training(review.training_budgets)),
        Answer("versions", "What does an answer cost, version by version?", _versions(review.versions)),
        Answer("teams", "Who uses the hardware?", _teams(review)),
        Answer("fleets", "Is any fleet too large or too small?", _fleets(review.fleets)),
        Answer("optimisations", "What do the optimisations earn?", _optimisations(review)),
        Answer("procurement", "What should be held differently?", _procurement(review.procurement)),
    )


def money(amount: Money | None) -> str:
    """Nano-USD for people."""
    return usd(format_usd(amount))


def grown(value: float | None) -> str:
    """A growth rate: `+12 %`."""
    if value is None:
        return "unknown"
    return f"+{percent(value)}" if value > 0 else percent(value)


def used(value: float | None) -> str:
    """An amount of use."""
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:,.6g}"


def version_name(each: VersionCost) -> str:
    """A model with its version and optimisation level."""
    return " ".join(filter(None, (each.model or "no model known", each.version, each.optimization)))


def team_name(each: TeamUse) -> str:
    return "no team" if each.team is None else each.team or "(empty)"


def _growth(found: Sequence[Growth]) -> str:
    works = {each.workload: [other for other in found if other.workload == each.workload] for each in found if each.measure}
    return " ".join(_grown(name, measured) for name, measured in works.items()) or "Nothing was used in either window."


def _grown(name: str, measured: Sequence[Growth]) -> str:
    """One kind of work against each measure of its use."""
    compared = [each for each in measured if each.faster is not None and each.usage_growth is not None]
    if not compared:
        return f"{name.capitalize()}: unknown, {measured[0].note}."
    faster = [each.measure for each in compared if each.faster]
    verdict = "no" if not faster else "yes" if len(faster) == len(compared) else f"faster than {join(faster)} only"
    told = [f"{each.measure} {grown(each.usage_growth)}" for each in compared]
    return f"{name.capitalize()}: {verdict}. Per day, spend {grown(measured[0].spend_growth)}, {join(told)}."


def _training(found: Sequence[TrainingBudget]) -> str:
    return " ".join(map(_budget, found)) if found else "No budget covers training."


def _budget(each: TrainingBudget) -> str:
    if each.within is None:
        return f"{each.name}: unknown, {each.note}."
    used = f"{percent(each.share)} of {each.limit_text} is used, with {percent(each.elapsed, 0)} of the time over"
    return f"{each.name}: {'yes' if each.within else 'no'}, {used}."


def _versions(found: Sequence[VersionCost]) -> str:
    priced = [each for each in found if each.requests and each.usd_per_request is not None]
    if not priced:
        return "Unknown: no request of the window has a price." if found else "No model answered in the window."
    first = priced[0]
    told = f"{version_name(first)}, on which most is spent, costs {usd(first.usd_per_request)} a request"
    told += "" if first.change is None else f" ({grown(first.change)})"
    many = (each for each in priced[1:] if min(each.requests, each.before_requests or 0) >= MANY)
    moved = max((each for each in many if each.change), key=lambda each: abs(each.change or 0), default=None)
    if moved is not None:
        told += f"; {version_name(moved)} moved most: {grown(moved.change)} to {usd(moved.usd_per_request)}"
    return f"{told}."


def _teams(review: Showback) -> str:
    whole = review.fleet_gpu_hours
    if not review.fleets:
        return NO_FLEETS
    if not whole:
        return "No GPU-hours are known to have run."
    worked = sum(each.gpu_hours for each in review.teams)
    told = f"{worked:,.1f} of {whole:,.1f} GPU-hours were at work ({percent(worked / whole)})"
    first = max(review.teams, key=lambda each: each.gpu_hours, default=None)
    if first is not None and first.gpu_hours:
        told += f", {first.gpu_hours:,.1f} of them for {team_name(first)}"
    if review.nobody_gpu_hours:
        told += f"; {review.nobody_gpu_hours:,.1f} ran on fleets that nobody used"
    return f"{told}."


def _fleets(found: Sequence[FleetReview]) -> str:
    if not found:
        return NO_FLEETS
    large = [each for each in found if each.over_provisioned]
    small = [each for each in found if each.constrained]
    vague = [
        each.fleet
        for each in found
        if not each.over_provisioned and not each.constrained and None in (each.over_provisioned, each.constrained)
    ]
    parts = [_large(each) for each in large] + [_small(each) for each in small]
    if vague:
        parts.append(f"Of {join(vague)} that is unknown.")
    return " ".join(parts) or "No: every fleet is used, and keeps up."


def _large(each: FleetReview) -> str:
    bound = "at most " if each.upper_bound else ""
    return f"{each.fleet} is too large: {bound}{percent(each.utilization)} used, {money(each.idle_usd)} idle{_enough(each)}."


def _enough(each: FleetReview) -> str:
    """What would have been enough, where that is less than there was."""
    if each.enough_units is None or each.units is None:
        return ""
    if not each.enough_units:
        return "; nobody used it"
    if each.enough_units < each.units:
        return f"; {plural(each.enough_units, 'unit')} of {each.units:g} would have been enough"
    return "; one unit is the least of its kind" if each.units <= 1 else "; at its peaks it takes all of its units"


def _small(each: FleetReview) -> str:
    late = [f"{what} at {seconds:.3g} s against {within:g} s" for what, seconds, within in _late(each)]
    why = f"P95 of its {join(late)}" if late else f"P95 of its utilisation is {percent(each.utilization_p95)}"
    return f"{each.fleet} is too small: {why}."


def _late(each: FleetReview) -> Iterator[tuple[str, float, float]]:
    for objective in each.objectives:
        if objective.missed:
            yield objective.what.replace("_", " "), objective.p95_s, objective.within_s


def _optimisations(review: Showback) -> str:
    if not review.compared:
        return f"Unknown: no request has both a cost and a baseline to compare it with. {NO_PLAN}"
    saved = review.counterfactual_usd - review.paid_usd
    share = f" ({percent(saved / review.counterfactual_usd)} of what the baseline would have cost)" if review.counterfactual_usd > 0 else ""
    levers = [f"{NAMES[lever.name]} {signed_usd(format_usd(lever.realised_usd))}" for lever in review.levers if lever.realised_usd]
    told = f"{money(Money(saved))} was saved{share}" if saved >= 0 else f"They cost {money(Money(-saved))} more than they earned"
    return f"{told}{': ' + join(levers) if levers else ''}. {NO_PLAN}"


def _procurement(found: Sequence[Procurement]) -> str:
    if not found:
        return NO_FLEETS
    parts = [part for each in found if (part := _held(each))]
    return " ".join(parts) or "Nothing, as far as the figures go."


def _held(each: Procurement) -> str:
    if each.advice == "release":
        needless = f"Give back what {each.fleet} does not need" if each.serves and each.enough_units else f"Give back {each.fleet}"
        return f"{needless}: {each.note.partition(';')[0]}."
    if each.advice == "commit":
        units = plural(each.candidate_units or 0, "unit")
        return f"{units} of {each.fleet} ran steadily on demand: a commitment of more than {percent(each.breaks_even_discount)} off pays."
    if each.advice == "spot":
        return f"{each.fleet} trains on demand: with checkpoints it can run on spot."
    if each.advice == "let_lapse":
        return f"{money(each.unused_usd)} of the commitment for {each.fleet} was not used: do not renew that part."
    return f"Of {each.fleet} that is unknown: {each.note.removeprefix('unknown: ')}." if each.advice == "unknown" else ""
