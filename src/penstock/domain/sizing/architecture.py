"""What a language model is made of, as its `config.json` tells: layers, heads, experts, and what they weigh.

Numbers are counts of parameters or elements, never bytes: bytes follow from a format (`formats.py`). Families: dense, grouped
queries (GQA), latent attention (MLA: DeepSeek-V2, arXiv 2405.04434), mixtures of experts, sliding windows, linear attention.
"""

import msgspec


class Experts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mixture of experts of a layer: `active` of `count` per token, and `shared` that every token passes."""

    count: int
    active: int
    intermediate: int
    shared: int = 0
    shared_intermediate: int | None = None
    """width of a shared expert where it differs"""
    dense_layers: int = 0
    """layers without a mixture, with the `intermediate` of the architecture"""


class Latent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Multi-head latent attention: what is kept per token and layer is `kv_rank + rope` elements, whatever the heads."""

    kv_rank: int
    rope: int
    q_rank: int | None = None
    """None: queries are not compressed (DeepSeek-V2-Lite)"""
    nope: int
    value: int
    index_heads: int = 0
    """of the indexer that picks which tokens are attended to (DeepSeek-V3.2, GLM-5); 0: all are"""
    index_dim: int = 0
    """elements of its key, kept per token and layer too"""


class Linear(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Linear attention by the gated delta rule (Qwen3-Next, Qwen3.5): a state of `value_heads x key_dim x value_dim` per layer."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int
    """width of the convolution before it"""


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """A decoder-only language model."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    intermediate: int
    tied: bool = False
    """input embeddings are the output head too"""
    gated: bool = True
    """the feed-forward part has three matrices, as SwiGLU; else two"""
    experts: Experts | None = None
    latent: Latent | None = None
    window: int | None = None
    """tokens that layers with a sliding window see"""
    windowed_layers: int = 0
    linear_layers: int = 0
    """layers with linear attention: a state of fixed size, no keys and values per token"""
    linear: Linear | None = None
    """what those layers are made of"""
    gated_attention: bool = False
    """the other layers' queries come with a gate of the same size (Qwen3-Next, Qwen3.5)"""
    max_context: int | None = None
    extra_parameters: int = 0
    """what the fields do not tell and the published size does: vision towers, next-token modules"""
