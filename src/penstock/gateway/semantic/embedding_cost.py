"""An embedding that costs something falls under the same hard caps as the request that it is for: it is held before it is made."""

from penstock.gateway.accounts import Caps
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.purses import Short
from penstock.gateway.semantic.embedding import Embeddings
from penstock.gateway.semantic.look import Embedding


async def hold_embedding(gateway: Gateway, caps: Caps, embeddings: Embeddings, x: Exchange, text: str) -> bool:
    """Holds the most that embedding a text may cost: a token for each byte. False: it does not fit, or nothing bounds it."""
    purses = caps.accounts.purses_of(x, x.target.candidates if x.target is not None else ())
    purses = tuple(purse for purse in purses if purse.account.law.unit == "USD")
    if not purses:
        return True
    most = embeddings.cost(gateway.prices, Embedding(0, len(text.encode("utf-8", "replace"))), x.admitted_ns)
    if most is None:
        return False
    outcome = await caps.purses.take([(purse, most) for purse in purses])
    if isinstance(outcome, Short):
        return False
    x.embedding_held = outcome
    return True
