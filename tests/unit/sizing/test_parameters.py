"""Parameters and kept elements: sums by hand for each family, and what must hold for any architecture."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.architecture import Architecture, Experts, Latent, Linear
from penstock.domain.sizing.parameters import kv_elements, parameters

DENSE = Architecture(
    name="dense", layers=2, hidden=8, heads=4, kv_heads=2, head_dim=2, vocabulary=10, intermediate=16
)  # fmt: skip


def test_a_dense_model_by_hand() -> None:
    counts = parameters(DENSE)
    attention = 8 * 8 + 2 * 8 * 4 + 8 * 8
    assert counts.linear == 2 * (attention + 3 * 8 * 16)
    assert (counts.experts, counts.expert_active) == (0, 0)
    assert (counts.embeddings, counts.head) == (160, 80)
    assert counts.total == counts.linear + 160
    assert counts.active == counts.linear + 80


def test_tied_embeddings_are_counted_once_and_passed_once() -> None:
    tied = parameters(msgspec.structs.replace(DENSE, tied=True))
    assert (tied.embeddings, tied.head) == (80, 80)


def test_an_ungated_feed_forward_part_has_two_matrices() -> None:
    assert parameters(DENSE).linear - parameters(msgspec.structs.replace(DENSE, gated=False)).linear == 2 * 8 * 16


def test_a_mixture_by_hand() -> None:
    experts = Experts(count=4, active=2, intermediate=6, shared=1, shared_intermediate=5, dense_layers=1)
    counts = parameters(msgspec.structs.replace(DENSE, experts=experts))
    one, attention = 3 * 8 * 6, 8 * 8 + 2 * 8 * 4 + 8 * 8
    assert (counts.experts, counts.expert_active) == (4 * one, 2 * one)
    assert counts.linear == 2 * attention + 3 * 8 * 16 + 3 * 8 * 5 + 8 * 4


def test_latent_attention_keeps_one_vector_for_all_heads() -> None:
    latent = Latent(kv_rank=6, rope=2, q_rank=5, nope=3, value=4)
    model = msgspec.structs.replace(DENSE, latent=latent)
    attention = 5 * (8 + 4 * 5) + 8 * 8 + 6 * 4 * 7 + 4 * 4 * 8
    assert parameters(model).linear == 2 * (attention + 3 * 8 * 16)
    assert kv_elements(model).per_token == 2 * 8
    whole_queries = msgspec.structs.replace(model, latent=msgspec.structs.replace(latent, q_rank=None))
    assert parameters(whole_queries).linear - parameters(model).linear == 2 * (8 * 4 * 5 - 5 * (8 + 4 * 5))
    indexed = msgspec.structs.replace(model, latent=msgspec.structs.replace(latent, index_heads=2, index_dim=3))
    assert kv_elements(indexed).per_token == 2 * (8 + 3)


def test_windows_keep_what_is_in_them() -> None:
    model = msgspec.structs.replace(DENSE, window=100, windowed_layers=1)
    kept = kv_elements(model)
    assert (kept.per_token, kept.windowed_per_token, kept.window) == (8, 8, 100)
    assert kept.of_sequence(50) == 50 * 16
    assert kept.of_sequence(1000) == 1000 * 8 + 100 * 8


def test_linear_attention_keeps_a_state_of_fixed_size() -> None:
    linear = Linear(key_heads=2, value_heads=3, key_dim=4, value_dim=5, kernel=4)
    model = msgspec.structs.replace(DENSE, layers=4, linear_layers=3, linear=linear)
    kept = kv_elements(model)
    assert kept.per_token == 8
    assert kept.per_sequence == 3 * (3 * 4 * 5 + (16 + 15) * 3)


@given(
    st.integers(1, 40), st.integers(1, 8), st.sampled_from([1, 2, 4, 8]), st.integers(1, 64), st.integers(1, 200), st.integers(0, 10**6)
)  # fmt: skip
def test_any_architecture_adds_up(layers: int, groups: int, kv_heads: int, width: int, vocabulary: int, tokens: int) -> None:
    heads = groups * kv_heads
    model = Architecture(
        name="any", layers=layers, hidden=heads * 2, heads=heads, kv_heads=kv_heads, head_dim=2, vocabulary=vocabulary, intermediate=width,
        experts=Experts(count=4, active=2, intermediate=width), window=64, windowed_layers=layers // 2,
    )  # fmt: skip
    counts = parameters(model)
    assert counts.total == counts.linear + counts.experts + counts.embeddings
    assert counts.expert_active * 2 == counts.experts
    assert counts.active < counts.total
    kept = kv_elements(model)
    assert kept.of_sequence(tokens) <= kept.of_sequence(tokens + 1)
    assert kept.of_sequence(tokens) <= 2 * kv_heads * 2 * layers * tokens


def test_absent_parts_are_refused_by_the_schema() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"count": 8, "active": 2, "intermediate": 4, "top_k": 2}, Experts)
