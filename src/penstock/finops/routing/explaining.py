"""How a request went over tiers, and how a tag's requests go now, in words."""

from collections.abc import Mapping, Sequence

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judge, Judged, RouteDecision, Sign, Stratum
from penstock.domain.routing.course import Course, Stage
from penstock.finops.caching.explaining import Why

_STRATA: Mapping[Stratum, str] = {
    "agree": "they agree", "differ": "they differ", "confident": "it is confident", "unsure": "it is not confident",
    "failed": "a check speaks against it", "direct": "it comes",
}  # fmt: skip
_FOUND: Mapping[Stratum, str] = {
    "agree": "they agreed", "differ": "they differed", "confident": "it was confident enough", "unsure": "it was not confident enough",
    "failed": "a check spoke against it", "direct": "it came",
}  # fmt: skip


def why_routed(record: UsageRecord) -> tuple[Why, ...]:
    """The lines; none where no decision is on the record."""
    told = record.route_decision
    if told is None:
        return ()
    lines = [Why("course", told.why)] if told.why else []
    lines += [Why("stage" if len(told.stages) < 2 else f"stage {number}", stage_words(each)) for number, each in enumerate(told.stages, 1)]
    if told.stages and not any(each.kept for each in told.stages) and record.tier is not None:
        lines.append(Why("so", f"{record.tier} answered"))
    if told.error_budget is not None:
        lines.append(Why("expected loss", _loss(told)))
    if told.preset is not None:
        lines.append(Why("preset", told.preset))
    if told.session is not None:
        lines.append(Why("session", f"kept to the tier of conversation {told.session}, for its prompt cache"))
    if told.shadowed:
        chance = "" if told.shadow_propensity is None else f", as {percent(told.shadow_propensity)} of such requests are"
        lines.append(Why("shadowed", f"answered by all tiers beside what the client got, to measure{chance}"))
    return tuple(lines)


def stage_words(judged: Judged) -> str:
    """What was asked, what came of it, and what became of the answer."""
    signs = [told for sign in judged.signs if (told := _sign(sign))]
    shown = f" ({'; '.join(signs)})" if signs else ""
    first = judged.tiers[0]
    if judged.kind == "direct":
        return f"asked {first}, whose answer is not judged"
    asked = f"asked {' and '.join(judged.tiers)} at once" if judged.kind == "gate" else f"asked {first}"
    confident = "" if judged.confidence is None else f", confidence {judged.confidence:.2f}"
    outcome = f"{first}'s answer is kept" if judged.kept else f"{first}'s answer is not kept"
    return f"{asked}: {_FOUND[judged.stratum]}{confident}{shown}, so {outcome}; {_kept_share(judged)}"


def _kept_share(judged: Judged) -> str:
    if judged.stratum == "failed":
        return "such answers are never kept"
    such = "all" if judged.share >= 1 else "none" if judged.share <= 0 else percent(judged.share)
    return f"{such} of such answers {'is' if such == 'none' else 'are'} kept"


def _sign(sign: Sign) -> str:
    value = "" if sign.value is None else f" {sign.value:.2f}"
    said = f": {sign.said}" if sign.said else ""
    return f"{sign.name}{value}{' fails' if sign.fails else ''}{said}" if value or sign.fails or sign.said else ""


def _loss(told: RouteDecision) -> str:
    budget = percent(told.error_budget)
    return f"unknown, of {budget}" if told.expected_loss is None else f"{percent(told.expected_loss)} of {budget}"


def course_words(course: Course) -> str:
    """The stages of a course: `small and mid at once, kept where they agree; else large`."""
    parts = [_stage(stage, at == len(course.stages) - 1) for at, stage in enumerate(course.stages)]
    return "; else ".join(parts)


def _stage(stage: Stage, last: bool) -> str:
    if stage.kind == "direct" or last:
        return stage.tiers[0]
    asked = f"{' and '.join(stage.tiers)} at once" if stage.kind == "gate" else stage.tiers[0]
    kept = [_open(stratum, share) for stratum, share in stage.shares.items() if share > 0]
    return f"{asked}, kept where {' or '.join(kept)}" if kept else f"{asked}, never kept"


def _open(stratum: Stratum, share: float) -> str:
    return _STRATA[stratum] if share >= 1 else f"{_STRATA[stratum]} ({percent(share)} of those)"


def open_shares(course: Course) -> dict[str, float]:
    """Stratum -> share of it that is kept, of the first stage."""
    first: Sequence[Stage] = course.stages[:1]
    return {stratum: share for stage in first if len(course.stages) > 1 for stratum, share in stage.shares.items()}


def judged_words(judges: Mapping[Judge, int], last: str) -> str:
    """Who judged the labels of a route: `labels: 40 by checks, 7 by agreement with large, which is consistency and not quality`."""
    names = {
        "check": "checks", "agreement": f"agreement with {last}, which is consistency and not quality",
        "model": "a model that compared in both orders", "feedback": "people", "table": "a table of graded answers",
    }  # fmt: skip
    return f"labels: {', '.join(f'{count:,} by {names[judge]}' for judge, count in judges.items())}" if judges else "no labels"


def percent(share: float | None) -> str:
    """`1.2 %`, to three digits; None is unknown."""
    return "unknown" if share is None else f"{share * 100:.3g} %"
