"""The most that a request can cost here: its worst case over configured models at the prices of its instant."""

from collections.abc import Sequence

from penstock.domain.budgets.worst_case import Candidate as Bound
from penstock.domain.budgets.worst_case import worst_case
from penstock.domain.dialects.processing import processing_of
from penstock.domain.dialects.tokens import Tokens
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.targets import Candidate


def worst_case_of(gateway: Gateway, x: Exchange, candidates: Sequence[Candidate]) -> tuple[int | None, Tokens | None]:
    """Nano-USD and tokens, None where nothing bounds them; over the dearest of the candidates, and of the processing class that is
    asked for and the standard one, which a provider may fall back to. A class without a price has no bound."""
    if x.body is None or x.target is None:
        return None, None
    asked, bounds = processing_of(x.body), []
    for candidate in candidates:
        for processing in dict.fromkeys((None, asked)):
            schedule = gateway.prices.schedule(candidate.model, processing)
            rates = schedule.at(x.admitted_ns) if schedule is not None else None
            bounds.append(Bound(rates, candidate.context, candidate.max_output))
    return worst_case(x.body, bounds, generates=x.endpoint != "embeddings")
