"""Only the beginning of a text is read, and that exactly as if all of it were."""

import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from penstock.adapters.embedders.bert import read
from penstock.adapters.embedders.tokens import FIRST_CUT, LAST_CUT, Tokens
from penstock.adapters.embedders.weights import find

PIECES = st.sampled_from(["water ", "x" * 90, "é", "水", " " * 40, "!", "\u0301", "don't ", "🚀", "Straße\n", "\u0000", "q" * 150 + " "])


@pytest.fixture(scope="module")
def folder() -> Path:
    return find("minilm", Path("nowhere"), {})


@pytest.fixture(scope="module")
def tokens(folder: Path) -> Tokens:
    return Tokens(read(folder))


@pytest.fixture(scope="module")
def whole(folder: Path) -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return tokenizer


@settings(max_examples=100)
@given(pieces=st.lists(PIECES, min_size=1, max_size=20), times=st.integers(1, 60))
def test_a_cut_changes_no_token(tokens: Tokens, whole: Tokenizer, pieces: list[str], times: int) -> None:
    text = ("".join(pieces) * times)[:LAST_CUT]
    assert tokens.of([text]) == [whole.encode(text).ids]


@pytest.mark.parametrize(
    "text", ["z" * (FIRST_CUT + 5) + " water", " " * (2 * FIRST_CUT) + "water rises", "水" * 9_000, ("q" * 150 + " ") * 200]
)
def test_long_words_and_gaps(tokens: Tokens, whole: Tokenizer, text: str) -> None:
    assert tokens.of([text, "water", text]) == [whole.encode(each).ids for each in (text, "water", text)]


def test_halves_of_surrogate_pairs_are_no_reason_to_fail(tokens: Tokens) -> None:
    assert tokens.of(["a \ud83d b"]) == tokens.of(["a ? b"])


@pytest.mark.parametrize("text", ["word " * 200_000, "x" * 1_000_000, "\u0301" * 1_000_000, "水!" * 500_000])
def test_a_huge_text_takes_bounded_time_and_memory(tokens: Tokens, text: str) -> None:
    tracemalloc.start()
    try:
        began = time.process_time()
        [ids] = tokens.of([text])
        took_s = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(ids) <= 256
    assert took_s < 2, "it would be tens of seconds under tracemalloc if all of it were read"
    assert peak < 10 * LAST_CUT * 8
