"""The graph computes a BERT: the same as numpy does step by step, for every kind of weights, and whatever stands beside a text."""

from pathlib import Path

import numpy as np
import pytest

from penstock.adapters.embedders.bert import read
from penstock.adapters.embedders.model import Model
from penstock.adapters.embedders.tokens import Tokens
from penstock.ports.embedder import EmbedderError, Vectors
from tests.unit.embedders.tiny_bert import HIDDEN, MOST, opened, vector, weights, write

TEXTS = ["", "the gate", "when water rises above seven feet the gate opens .", "not", "closes at night ? " * 10, "unheard of"]


def all_of(model: Model, texts: list[str]) -> Vectors:
    found = np.zeros((len(texts), model.bert.hidden), np.float32)
    for places, vectors in model.vectors(texts):
        found[places] = vectors
    return found


@pytest.mark.parametrize(
    ("kind", "pooling", "told"), [("F32", "mean", "mean_tokens"), ("F16", "mean", "mean_tokens"), ("BF16", "cls", "cls_token")]
)
def test_vectors_are_those_of_the_model(tmp_path: Path, kind: str, pooling: str, told: str) -> None:
    model = opened(write(tmp_path / "m", kind, told))
    held = weights()
    if kind == "BF16":
        held = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in held.items()}
    wanted = [vector(held, tokens, pooling) for tokens in Tokens(model.bert).of(TEXTS)]
    found = all_of(model, TEXTS)
    assert np.abs(found - np.array(wanted)).max() < 1e-5
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    alone = np.concatenate([all_of(model, [text]) for text in TEXTS])
    assert np.abs(found - alone).max() < 1e-6


def test_many_texts_of_all_lengths_at_once(tmp_path: Path) -> None:
    model = opened(write(tmp_path / "m"))
    texts = ["the gate opens when water rises above seven feet"[: 5 + n % 44] for n in range(300)]
    found = all_of(model, texts)
    assert np.abs(found - np.concatenate([all_of(model, [text]) for text in texts])).max() < 1e-6


def test_the_same_weights_have_the_same_stamp(tmp_path: Path) -> None:
    first, again = read(write(tmp_path / "a")), read(write(tmp_path / "b"))
    assert first.stamp == again.stamp == f"bert-2x{HIDDEN}:mean:{MOST}:{first.stamp[-12:]}"
    others = [read(write(tmp_path / "c", held=weights(seed=2))), read(write(tmp_path / "d", pooling="cls_token"))]
    tokens = write(tmp_path / "e")
    (tokens / "tokenizer.json").write_text((tokens / "tokenizer.json").read_text().replace('"lowercase": true', '"lowercase": false'))
    assert len({first.stamp, *(each.stamp for each in others), read(tokens).stamp}) == 4


def test_weights_that_are_no_numbers_are_told_of_at_once(tmp_path: Path) -> None:
    held = weights()
    held["encoder.layer.1.output.dense.bias"][3] = np.nan
    with pytest.raises(EmbedderError, match="numbers that are none"):
        opened(write(tmp_path / "m", held=held))


def test_a_tokenizer_that_is_none_is_told_of(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EmbedderError, match=r"tokenizer\.json cannot be read"):
        opened(folder)
