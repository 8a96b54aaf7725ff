"""`by_complexity`: the tier that a request's looks ask for, by the conditions of the tiers or by the usual cut-offs."""

from collections.abc import Sequence

from penstock.domain.routing.needs import DEFAULT_BUDGET, LEAST_BUDGET, Option, Task, class_of, place_of, quick_enough
from penstock.domain.routing.tiers import choose_tier
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.wishes import Wishes
from penstock.gateway.targets import Candidate, Target


def placed(target: Target, wishes: Wishes, score: float, task: Task) -> tuple[int, str]:
    """The place among the wished tiers that a score asks for, and why.

    Conditions of the config go before the usual cut-offs; a small error budget goes before both.
    """
    laws = [law for law in target.laws if law.name in wishes.tiers]
    plain = wishes.error_budget is None and wishes.latency_s is None
    why = f"complexity {score:.2f}" if plain else f"complexity {score:.2f}, {task}"
    if wishes.error_budget is not None and wishes.error_budget <= LEAST_BUDGET:
        return len(laws) - 1, f"{why}; an error budget of {wishes.error_budget:g} is for the last tier only"
    if plain or any(law.condition is not None for law in laws):
        return wishes.tiers.index(choose_tier(laws, score)), why
    wanted = class_of(score, task, DEFAULT_BUDGET if wishes.error_budget is None else wishes.error_budget)
    return place_of(wanted, len(laws)), f"{why}: {wanted}"


def settled(gateway: Gateway, x: Exchange, wishes: Wishes, ladder: Sequence[Candidate], place: int, why: str) -> tuple[Candidate, str]:
    """The candidate for a place on a ladder, or one further up that is quick enough where that is wished."""
    if wishes.latency_s is None:
        return ladder[place], why
    options = [Option(each.label, gateway.paces.p95(each.model, x.streamed)) for each in ladder]
    choice = quick_enough(options, place, wishes.latency_s)
    return next(each for each in ladder if each.label == choice.tier), f"{why}; {choice.why}"
