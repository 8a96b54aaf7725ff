"""An anomaly in words, for messages, the command line and the console; and as JSON."""

from typing import Final

from penstock.domain.budgets.causes import Cause, Driver
from penstock.domain.prices.schedule import HOUR_NS
from penstock.domain.units import format_usd
from penstock.finops.anomalies.book import Feedback, Found
from penstock.finops.window import iso

METRIC_WORDS: Final = {
    "spend": "spend", "requests": "requests", "cp1kt": "cost per 1,000 tokens", "tokens_per_request": "tokens per request",
    "cache_rate": "input from caches", "error_cost": "cost of failures",
}  # fmt: skip
_BEYOND: Final = {
    "cp1kt": "the same tokens usually cost", "cache_rate": "the same tokens usually cost",
    "tokens_per_request": "requests of the usual size cost",
}  # fmt: skip
"""metric of what is not itself an amount of dollars -> what its impact is beyond"""
_DRIVER_WORDS: Final[dict[Driver, str]] = {
    "requests": "more requests", "request_size": "larger requests", "replays": "fewer replays from the cache",
    "model_mix": "a dearer mix of models", "price": "a new price", "prompt_cache": "less input in the provider's prompt cache",
    "token_kinds": "other kinds of tokens", "failures": "failures that cost", "shift": "where it comes from",
}  # fmt: skip


def name(found: Found) -> str:
    """What it is about: `engineering / code`, with the model where it is only one."""
    parts = [found.team or "no team", found.feature or "no feature"]
    if found.model is not None:
        parts.append(found.model)
    return " / ".join(parts)


def observed(found: Found) -> str:
    """`spend 9.4 times the usual`."""
    what = METRIC_WORDS[found.metric]
    if found.observed is None:
        return f"{what} unknown"
    if found.metric == "cache_rate":
        return f"{what} {found.observed:.0%}" + ("" if found.usual is None else f", usually {found.usual:.0%}")
    if not found.usual:
        return f"{what} where there is usually none"
    ratio = found.observed / found.usual
    return f"{what} {ratio:.2f} times the usual" if ratio < 10 else f"{what} {ratio:,.0f} times the usual"


def cause(each: Cause) -> str:
    """`more requests (+3.120 USD): user svc-refactor, 9% before, 98% now`; dollars, for others may have made it cheaper meanwhile."""
    value = "none given" if each.value is None else each.value
    shares = "" if each.before is None or each.now is None else f", {each.before:.0%} before, {each.now:.0%} now"
    dimension = each.dimension.replace("_", " ")
    return f"{_DRIVER_WORDS[each.driver]} (+{_rounded(each.amount)} USD): {dimension} {value}{shares}"


def impact(found: Found) -> str:
    """`0.327 USD beyond the usual 0.019 USD`, both of its metric."""
    told = f"{_rounded(found.impact)} USD"
    if found.metric in _BEYOND:
        return f"{told} more than {_BEYOND[found.metric]}"
    usual = round(found.usual or 0) if found.metric == "error_cost" else found.usual_cost
    return f"{told} beyond the usual {_rounded(usual)} USD" if usual else f"{told} more than usual"


def lasted(found: Found, now_ns: int) -> str:
    """`1 h 25 min`."""
    minutes = max((found.end_ns or now_ns) - found.begin_ns, 0) // (HOUR_NS // 60)
    hours, rest = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (rest, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 min"


def anomaly_json(found: Found, said: Feedback | None) -> dict[str, object]:
    """Money as decimal strings of USD, unknown as null."""
    in_usd = found.metric in ("spend", "error_cost", "cp1kt")
    return {
        "id": found.id,
        "team": found.team,
        "feature": found.feature,
        "model": found.model,
        "metric": found.metric,
        "metrics": list(found.metrics),
        "begin": iso(found.begin_ns),
        "end": None if found.end_ns is None else iso(found.end_ns),
        "ongoing": found.end_ns is None,
        "became_usual": found.stayed,
        "found_at": iso(found.found_ns),
        "observed": _amount(found.observed, in_usd),
        "usual": _amount(found.usual, in_usd),
        "cost_usd": format_usd(found.cost),
        "usual_cost_usd": format_usd(found.usual_cost),
        "impact_usd": format_usd(found.impact),
        "requests": found.requests,
        "score": round(found.score, 1),
        "causes": [_cause_json(each) for each in found.causes],
        "words": f"{name(found)}: {observed(found)}; {impact(found)}",
        "feedback": None if said is None else {"verdict": said.verdict, "note": said.note, "at": iso(said.at_ns)},
    }


def _cause_json(each: Cause) -> dict[str, object]:
    return {
        "driver": each.driver,
        "dimension": each.dimension,
        "value": each.value,
        "amount_usd": format_usd(each.amount),
        "part": round(each.part, 4),
        "share_before": None if each.before is None else round(each.before, 4),
        "share_now": None if each.now is None else round(each.now, 4),
        "words": cause(each),
    }


def _amount(value: float | None, in_usd: bool) -> object:
    if value is None:
        return None
    return format_usd(round(value)) if in_usd else round(value, 4)


def _rounded(nano: int) -> str:
    """Three digits after the point below ten dollars, else two."""
    return f"{nano / 1e9:,.3f}" if abs(nano) < 10**10 else f"{nano / 1e9:,.2f}"
