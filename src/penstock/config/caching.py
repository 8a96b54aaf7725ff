"""The layers of the cache: the very same request, the same words, the same meaning."""

from typing import Annotated, Literal

from msgspec import Meta

from penstock.config.tables import Fraction01, Positive, Table, doc
from penstock.domain.units import Duration, Size

_NEAR = "this is a cosine similarity, not a distance: 1 is the same, so write 0.95 where a distance would be 0.05"
Similarity = Annotated[float, Meta(ge=0.5, le=1, extra={"hint": _NEAR})]
Share = Annotated[float, Meta(gt=0, le=0.2)]


class ExactCache(Table, frozen=True):
    """Answers replayed for the very same request."""

    enabled: Annotated[bool, doc("Whether this layer is on.")] = True
    ttl: Annotated[Duration, doc("How long an answer may be replayed.")] = Duration(86400)
    max_bytes: Annotated[Size, doc("Memory of this layer, all workers together.")] = Size(64_000_000)


class SemanticCache(Table, frozen=True):
    """Answers replayed for requests that mean the same: in the same words first, then in others."""

    enabled: Annotated[bool, doc("Whether this layer is on. Questions and answers are then kept, in `store`.")] = False
    mode: Annotated[
        Literal["zero-trust", "learned", "shadow"],
        doc(
            "`zero-trust`: only what is at least `similarity` near and differs in nothing that guards know of; `learned`: as many answers "
            "as `max_error` allows, by what was measured here; `shadow`: serve nothing, and report what would have been saved."
        ),
    ] = "zero-trust"
    max_error: Annotated[Fraction01, doc("Wrong answers that are accepted in mode `learned`, as a share of requests.")] = 0.005
    similarity: Annotated[
        Similarity,
        doc("Least cosine similarity (0 to 1, more is nearer; not a distance) of what `zero-trust` serves."),
    ] = 0.95
    probe: Annotated[
        Share,
        doc("Share of what could be served that is sent to the model all the same, to measure how often the cache is wrong."),
    ] = 0.02
    embedder: Annotated[
        str,
        doc(
            "What turns questions into vectors: `minilm` (from an installed package), a directory (`./models/minilm`), a name on the hub "
            "that is in its local cache (`sentence-transformers/all-MiniLM-L6-v2`), or a model of `[models]` that makes embeddings."
        ),
    ] = "minilm"
    store: Annotated[
        str,
        doc(
            "Where questions, vectors and answers are kept: `auto` (a file beside the journal; the Redis of `server.shared` when that is "
            "one), `redis://...` or `postgresql://...`."
        ),
    ] = "auto"
    ttl: Annotated[Duration, doc("How long an answer may be replayed.")] = Duration(86400)
    max_bytes: Annotated[Size, doc("Most that is kept; what promises least saving goes first.")] = Size(256_000_000)
    users: Annotated[
        Positive,
        doc("Distinct users whose answers must agree before one is replayed to others than who asked; 1: the first is trusted."),
    ] = 2
    hedge: Annotated[
        bool,
        doc("Ask the model while the cache looks: a miss is not slowed down by the embedding, a hit may have cost the start of a call."),
    ] = False
    wrong_answer: Annotated[
        str | None,
        doc("What a wrong answer costs you, such as `0.50 USD`: taken off what the cache saves in reports. Unset: reports say unknown."),
    ] = None


class Cache(Table, frozen=True):
    """The layers of the cache and their partition."""

    scope: Annotated[
        tuple[str, ...],
        doc("Partition of every layer: `tenant` (the key's tenant tag, else the key), or declared tags."),
    ] = ("tenant",)
    exact: Annotated[ExactCache, doc("Replays answers for the very same request.")] = ExactCache()
    semantic: Annotated[SemanticCache, doc("Replays answers for requests that mean the same.")] = SemanticCache()
