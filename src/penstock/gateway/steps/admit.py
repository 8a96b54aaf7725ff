"""May it run now: a bound on what is in flight, and the worst case that a budget would have to hold for it."""

from penstock.domain.budgets.worst_case import Candidate as Bound
from penstock.domain.budgets.worst_case import worst_case
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import Refusal, too_busy


async def admit(gateway: Gateway, x: Exchange) -> bool:
    """Raises `Refusal` (limit; input when unpriced models are refused)."""
    if gateway.counters.in_flight > gateway.settings.server.max_in_flight:
        raise too_busy("too many requests are in flight", "Try again in a moment, or raise server.max_in_flight")
    if gateway.settings.server.unpriced == "refuse" and x.target is not None:
        for candidate in x.target.candidates:
            schedule = gateway.prices.schedule(candidate.model)
            if schedule is None or schedule.at(x.admitted_ns) is None:
                raise _unpriced(candidate.model)
    return False


def hold(gateway: Gateway, x: Exchange) -> None:
    """Fills what a reservation holds: the worst case over every candidate, before an upstream is called."""
    if x.body is None or x.target is None:
        return
    bounds = []
    for candidate in x.target.candidates:
        schedule = gateway.prices.schedule(candidate.model)
        rates = schedule.at(x.admitted_ns) if schedule is not None else None
        bounds.append(Bound(rates, candidate.context, candidate.max_output))
    x.reserved, x.worst_tokens = worst_case(x.body, bounds, generates=x.endpoint != "embeddings")


def _unpriced(model: str) -> Refusal:
    return Refusal(
        400,
        "input",
        f"model `{model}` has no price, and this gateway refuses unpriced models",
        f'Give [models."{model}"] a price, or set server.unpriced = "flag"',
        code="unpriced_model",
        param="model",
    )
