"""May it run now: a bound on what is in flight, and the rate limits that it falls under."""

from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.lanes import class_of
from penstock.gateway.refusal import Refusal, too_busy

SHARE_PERCENT = {"critical": 100, "standard": 95, "best_effort": 80}
"""of `server.max_in_flight`, rounded up: how full a worker may be for a request of each class, so that the urgent find room"""


async def admit(gateway: Gateway, x: Exchange) -> bool:
    """Raises `Refusal` (limit; input when unpriced models are refused)."""
    share = SHARE_PERCENT[class_of(x.sla)]
    if gateway.counters.in_flight > -(-gateway.settings.server.max_in_flight * share // 100):
        gateway.lanes.note_shed(x)
        raise too_busy("too many requests are in flight", "Try again in a moment, or raise server.max_in_flight")
    if gateway.settings.server.unpriced == "refuse":
        if x.target is None and x.request.method == "POST":
            raise _unpriced(x.asked_for or x.request.path[:100])
        for candidate in x.target.candidates if x.target is not None else ():
            schedule = gateway.prices.schedule(candidate.model)
            if schedule is None or schedule.at(x.admitted_ns) is None:
                raise _unpriced(candidate.model)
    if gateway.rates is not None:
        await gateway.rates.admit(x)
    return False


def _unpriced(model: str) -> Refusal:
    return Refusal(
        400,
        "input",
        f"`{model}` has no price, and this gateway refuses unpriced models",
        f'Give [models."{model}"] a price, or set server.unpriced = "flag"',
        code="unpriced_model",
        param="model",
    )
