"""A directory is read as a BERT for sentences, or it is said why it is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.embedders.bert import Bert, read
from penstock.ports.embedder import EmbedderError
from tests.unit.embedders.tiny_bert import CONFIG, HIDDEN, MOST, safetensors, weights, write


def put(name: str, document: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(json.dumps(document))


def config(**changes: Any) -> Callable[[Path], object]:
    return put("config.json", CONFIG | changes)


def test_what_a_model_is(tmp_path: Path) -> None:
    bert = read(write(tmp_path / "m"))
    assert (bert.layers, bert.hidden, bert.most_tokens, bert.pooling, bert.lower) == (2, HIDDEN, MOST, "mean", False)
    assert bert.weights == tmp_path / "m" / "model.safetensors"


def test_tensors_may_be_named_as_parts_of_a_larger_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(safetensors({f"bert.{name}": value for name, value in weights().items()}))
    assert read(folder).tensors.keys() == weights().keys()


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    blob = (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(blob)
    assert read(folder).weights == blob


def test_a_plain_bert_is_pooled_by_the_mean(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", pooling="cls_token")
    (folder / "modules.json").unlink()
    (folder / "sentence_bert_config.json").unlink()
    bert = read(folder)
    assert (bert.pooling, bert.most_tokens) == ("mean", 20)


@pytest.mark.parametrize(
    ("told", "pooling"), [({"pooling_mode": "cls"}, "cls"), ({"pooling_mode": "mean", "include_prompt": True}, "mean")]
)
def test_pooling_in_the_newer_words(tmp_path: Path, told: dict[str, Any], pooling: str) -> None:
    folder = write(tmp_path / "m")
    put("1_Pooling/config.json", told)(folder)
    assert read(folder).pooling == pooling


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (put("config.json", {"model_type": "bert"}), "is not a BERT's"),
        (config(model_type="t5"), "model_type = t5"),
        (config(hidden_act="relu"), "hidden_act = relu"),
        (config(num_attention_heads=5), "num_attention_heads = 5"),
        (config(num_attention_heads=0), "is not a BERT's"),
        (config(hidden_size=32), "does not hold what config.json says"),
        (config(num_hidden_layers=3), "does not hold what config.json says"),
        (put("1_Pooling/config.json", {"pooling_mode_max_tokens": True}), "pools by pooling_mode_max_tokens"),
        (put("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}), "pools by"),
        (put("modules.json", [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]), "more than is computed here: Dense"),
        (put("config_sentence_transformers.json", {"default_prompt_name": "query"}), "the prompt query"),
    ],
)
def test_what_is_no_such_model_is_refused(tmp_path: Path, spoil: Callable[[Path], object], reason: str) -> None:
    folder = write(tmp_path / "m")
    spoil(folder)
    with pytest.raises(EmbedderError, match=reason) as refused:
        read(folder)
    assert refused.value.hint


def loaded(folder: Path) -> Bert | None:
    """None: it was refused, and nothing else came of it."""
    try:
        return read(folder)
    except EmbedderError:
        return None


@settings(max_examples=60)
@given(data=st.data())
def test_broken_weights_are_told_of(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = write(tmp_path_factory.mktemp("any") / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert loaded(folder) is None, "a part of a file"
    header = 8 + int.from_bytes(whole[:8], "little")
    place, byte = data.draw(st.integers(0, header - 1)), data.draw(st.integers(0, 255))
    (folder / "model.safetensors").write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    bert = loaded(folder)
    assert bert is None or all(each.offset + each.length <= len(whole) for each in bert.tensors.values())
