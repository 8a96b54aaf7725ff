"""A BERT of a few kilobytes with random weights, as sentence-transformers lays out its files; and what it computes, by numpy."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.adapters.embedders.bert import shapes
from penstock.adapters.embedders.model import Model

LAYERS, HIDDEN, HEADS, INNER, MOST = 2, 16, 4, 24, 12
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the gate opens when water rises above seven feet and closes at night ? . , ##s not".split()
VOCABULARY = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
CONFIG: dict[str, Any] = {
    "model_type": "bert", "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "num_attention_heads": HEADS, "intermediate_size": INNER,
    "vocab_size": len(VOCABULARY), "max_position_embeddings": 20, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
}  # fmt: skip
Weights = dict[str, NDArray[np.float32]]
Values = NDArray[np.float64]


def weights(seed: int = 1) -> Weights:
    dice = np.random.default_rng(seed)
    wanted = shapes(LAYERS, HIDDEN, INNER) | {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (20, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    # rounded to what the shortest kind of float can hold, so that all kinds hold the same
    return {name: (np.round(dice.standard_normal(shape) * 32) / 64).astype(np.float32) for name, shape in wanted.items()}


def write(folder: Path, kind: str = "F32", pooling: str = "mean_tokens", held: Weights | None = None) -> Path:
    """The files of the model, `pooling` as its configuration names it."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": MOST, "do_lower_case": False}))
    modules = [{"path": "", "type": "a.models.Transformer"}, {"path": "1_Pooling", "type": "a.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps([*modules, {"path": "2_Normalize", "type": "a.models.Normalize"}]))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True, "pooling_mode_max_tokens": False}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "model.safetensors").write_bytes(safetensors(weights() if held is None else held, kind))
    return folder


def tokenizer() -> dict[str, Any]:
    single: list[dict[str, Any]] = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    marks = {name: {"id": name, "ids": [VOCABULARY[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    return {
        "version": "1.0",
        "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0},  # as files come: not what the model wants
        "padding": {
            "strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
        },
        "added_tokens": [
            {
                "id": VOCABULARY[name], "special": True, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False,
            }
            for name in SPECIAL
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": marks},
        "decoder": None,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": VOCABULARY,
        },
    }  # fmt: skip


def safetensors(held: Weights, kind: str = "F32") -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in held.items():
        if kind == "BF16":
            raw = (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            raw = value.astype(np.float16 if kind == "F16" else np.float32).tobytes()
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def vector(held: Weights, tokens: Sequence[int], pooling: str = "mean") -> Values:
    """What the model makes of the tokens of one text, in 64-bit floats."""
    w = {name: value.astype(np.float64) for name, value in held.items()}

    def norm(name: str, x: Values) -> Values:
        away = x - x.mean(-1, keepdims=True)
        made: Values = away / np.sqrt((away**2).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]
        return made

    def dense(name: str, x: Values) -> Values:
        made: Values = x @ w[name + ".weight"].T + w[name + ".bias"]
        return made

    def gelu(x: Values) -> Values:
        made: Values = x * 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in x.flat]).reshape(x.shape))
        return made

    x = w["embeddings.word_embeddings.weight"][list(tokens)] + w["embeddings.position_embeddings.weight"][: len(tokens)]
    x = norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(LAYERS):
        own = f"encoder.layer.{layer}."
        q, k, v = (
            dense(f"{own}attention.self.{part}", x).reshape(len(tokens), HEADS, -1).transpose(1, 0, 2) for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(tokens), HIDDEN)
        x = norm(own + "attention.output.LayerNorm", x + dense(own + "attention.output.dense", mixed))
        x = norm(own + "output.LayerNorm", x + dense(own + "output.dense", gelu(dense(own + "intermediate.dense", x))))
    pooled: Values = x.mean(0) if pooling == "mean" else x[0]
    made: Values = pooled / float(np.linalg.norm(pooled))
    return made


def opened(folder: Path) -> Model:
    """The model, opened in a thread of its own: ONNX Runtime changes how the thread that opens it rounds, for good."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(Model, folder).result()
