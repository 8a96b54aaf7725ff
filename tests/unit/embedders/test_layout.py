"""Texts that go together hardly need padding, and the rows that the graph gathers are the right ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.embedders.layout import MOST_TOKENS, WASTE, groups, inputs

HEADS = 3


@given(st.lists(st.integers(2, 256), max_size=80))
def test_every_text_is_in_one_group(lengths: list[int]) -> None:
    found = list(groups(lengths))
    assert sorted(place for group in found for place in group) == list(range(len(lengths)))
    in_order = [lengths[place] for group in found for place in group]
    assert in_order == sorted(lengths)
    for group in found:
        own = [lengths[place] for place in group]
        assert len(own) == 1 or sum(own) <= MOST_TOKENS
        assert sum(max(own) ** 2 - length**2 for length in own) <= WASTE


def test_texts_of_one_length_are_one_group() -> None:
    assert len(list(groups([12] * 64))) == 1
    assert len(list(groups([12] * 40 + [200]))) == 2


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=6))
def test_rows_are_gathered_to_their_places_and_back(texts: list[list[int]]) -> None:
    made = inputs(texts, HEADS, "mean")
    flat = [token for tokens in texts for token in tokens]
    positions = [place for tokens in texts for place in range(len(tokens))]
    assert made["ids"].tolist() == flat
    assert made["positions"].tolist() == positions
    rows = np.arange(len(flat) * 3 * HEADS)  # of a token's queries, keys and values, a row for each head
    apart = rows[made["apart"]]
    for number, tokens in enumerate(texts):
        before = sum(map(len, texts[:number]))
        for place in range(len(tokens)):
            for head in range(HEADS):
                assert apart[number, head, place] == (before + place) * 3 * HEADS + head
    together = apart.reshape(-1)[made["together"]]
    assert together.tolist() == [[token * 3 * HEADS + head for head in range(HEADS)] for token in range(len(flat))]
    assert made["pool"].sum(-1).reshape(-1).tolist() == [len(tokens) for tokens in texts]
    assert ((made["mask"] == 0) == (made["pool"][:, :, None, :] == 1)).all()


def test_only_the_first_token_is_pooled_by_cls() -> None:
    assert inputs([[5, 6], [7]], HEADS, "cls")["pool"].tolist() == [[[1, 0]], [[1, 0]]]
