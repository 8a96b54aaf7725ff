"""How many parameters a model has, by what becomes of them when it is quantised, and what it keeps per token of context.

Matrices only: norms, biases and attention sinks are left out (together below 0.1 % of any model of more than a billion).
"""

import msgspec

from penstock.domain.sizing.architecture import Architecture


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of parameters. Their bytes follow from a format."""

    linear: int
    """matrices that are quantised and that every token passes: attention, dense layers, shared experts, routers"""
    experts: int
    """all routed experts of all layers"""
    expert_active: int
    """those of them that one token passes"""
    embeddings: int
    """input embeddings and output head, kept at 16 bits; counted once where they are tied"""
    head: int
    """the part of `embeddings` that a token is multiplied with"""
    other: int
    """kept at 16 bits and passed by no text token: vision towers, next-token modules"""

    @property
    def total(self) -> int:
        return self.linear + self.experts + self.embeddings + self.other

    @property
    def active(self) -> int:
        """What one token passes: the head, not the look-up of its input embedding."""
        return self.linear + self.expert_active + self.head


class KvElements(msgspec.Struct, frozen=True, kw_only=True):
    """Elements kept for a sequence. Bytes: of keys and values by their precision; a fixed state is kept in 32 bits."""

    per_token: int
    """of layers that see the whole context"""
    windowed_per_token: int
    """of layers that see the last `window` tokens"""
    window: int
    per_sequence: int
    """of linear attention: the same for any context"""

    def of_sequence(self, tokens: int) -> int:
        """Elements of keys and values (without the fixed state) of one sequence of that many tokens."""
        return self.per_token * tokens + self.windowed_per_token * min(tokens, self.window)


def parameters(architecture: Architecture) -> Parameters:
    a = architecture
    matrices = 3 if a.gated else 2
    attention = _attention(a) * (a.layers - a.linear_layers) + _linear_attention(a) * a.linear_layers
    experts = a.experts
    head = a.vocabulary * a.hidden
    embeddings = head if a.tied else 2 * head
    if experts is None:
        return Parameters(
            linear=attention + a.layers * matrices * a.hidden * a.intermediate,
            experts=0, expert_active=0, embeddings=embeddings, head=head, other=a.extra_parameters,
        )  # fmt: skip
    mixed = a.layers - experts.dense_layers
    one = matrices * a.hidden * experts.intermediate
    shared = experts.shared * matrices * a.hidden * (experts.shared_intermediate or experts.intermediate)
    router = a.hidden * experts.count
    return Parameters(
        linear=attention + experts.dense_layers * matrices * a.hidden * a.intermediate + mixed * (shared + router),
        experts=mixed * experts.count * one,
        expert_active=mixed * experts.active * one,
        embeddings=embeddings,
        head=head,
        other=a.extra_parameters,
    )


def kv_elements(architecture: Architecture) -> KvElements:
    a = architecture
    kept = 2 * a.kv_heads * a.head_dim if a.latent is None else a.latent.kv_rank + a.latent.rope + a.latent.index_dim
    state = 0
    if a.linear is not None:
        keys, values = a.linear.key_heads * a.linear.key_dim, a.linear.value_heads * a.linear.value_dim
        state = a.linear.value_heads * a.linear.key_dim * a.linear.value_dim + (2 * keys + values) * (a.linear.kernel - 1)
    windowed = a.windowed_layers if a.window is not None else 0
    return KvElements(
        per_token=kept * (a.layers - windowed - a.linear_layers),
        windowed_per_token=kept * windowed,
        window=a.window or 0,
        per_sequence=state * a.linear_layers,
    )


def _attention(a: Architecture) -> int:
    """Of one layer that keeps something per token."""
    if a.latent is None:
        queries = a.heads * a.head_dim * (2 if a.gated_attention else 1)
        return a.hidden * (queries + 2 * a.kv_heads * a.head_dim + a.heads * a.head_dim)
    latent = a.latent
    query_width = a.heads * (latent.nope + latent.rope)
    queries = a.hidden * query_width if latent.q_rank is None else latent.q_rank * (a.hidden + query_width)
    keys_values = a.hidden * (latent.kv_rank + latent.rope) + latent.kv_rank * a.heads * (latent.nope + latent.value)
    indexer = latent.index_heads * ((latent.q_rank or a.hidden) * latent.index_dim + a.hidden) + a.hidden * latent.index_dim
    return queries + keys_values + a.heads * latent.value * a.hidden + indexer


def _linear_attention(a: Architecture) -> int:
    """Of one layer with linear attention: queries, keys, values and their gate, the decay and step of each head, and the way out."""
    if a.linear is None:
        return 0
    keys, values = a.linear.key_heads * a.linear.key_dim, a.linear.value_heads * a.linear.value_dim
    inwards = a.hidden * (2 * keys + 2 * values + 2 * a.linear.value_heads)
    return inwards + (2 * keys + values) * a.linear.kernel + values * a.hidden
