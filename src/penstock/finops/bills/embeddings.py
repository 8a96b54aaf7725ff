"""Embeddings that looked for answers: booked on the requests that they were for, and billed by whose model makes them.

A record says what its embedding cost and not who made it, so all of a window are told of the embedder that is configured now. Those of
requests without a cost or a counterfactual stand with what answered them: sums do not tell them apart.
"""

import msgspec

from penstock.config.settings import Settings
from penstock.domain.ledger.measures import Sums

METER = "Embeddings"


class Embedder(msgspec.Struct, frozen=True):
    """A model whose provider bills embeddings."""

    upstream: str
    model: str


def embedder_of(settings: Settings) -> Embedder | None:
    """None: embeddings are made in the workers or by own hardware, and nobody bills them."""
    name = settings.cache.semantic.embedder
    model = settings.models.get(name)
    if model is None or any(fleet.upstream == model.upstream for fleet in settings.fleets.values()):
        return None
    return Embedder(model.upstream, name)


def embeddings_in(sums: Sums, embedder: Embedder | None) -> int:
    """Nano-USD of what providers bill for some requests that went to embeddings, as far as it is known."""
    return 0 if embedder is None else min(sums.embedding_cost, max(sums.cost - sums.provisional, 0))
