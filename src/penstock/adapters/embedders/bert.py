"""A BERT as sentence-transformers stores it: its shape, where each tensor lies in the file of weights, how tokens become one vector."""

import hashlib
import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from penstock.ports.embedder import EmbedderError

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
MODULES: Final = {"Transformer", "Pooling", "Normalize"}
"""what a sentence-transformer may be put together from here; dense layers and others are refused"""
SIZES: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
FLOATS: Final = frozenset({"F32", "F16", "BF16"})
Positive = Annotated[int, msgspec.Meta(ge=1)]
_MOST_HEADER: Final = 100_000_000
_HINT: Final = "Any BERT for sentences will do, such as `minilm` or `sentence-transformers/all-MiniLM-L6-v2`"


class Tensor(msgspec.Struct, frozen=True):
    """Bytes of the file from `offset` on."""

    kind: str
    shape: tuple[int, ...]
    offset: int
    length: int


class Bert(msgspec.Struct, frozen=True):
    """All that is needed to compute its vectors."""

    folder: Path
    layers: int
    hidden: int
    heads: int
    inner: int
    epsilon: float
    most_tokens: int
    """with the two around a text"""
    pooling: Literal["mean", "cls"]
    lower: bool
    """whether texts are made lower case before they are tokenised"""
    weights: Path
    """the file itself, links followed"""
    tensors: dict[str, Tensor]
    stamp: str


class _Config(msgspec.Struct):
    model_type: str
    num_hidden_layers: Positive
    hidden_size: Positive
    num_attention_heads: Positive
    intermediate_size: Positive
    vocab_size: Positive
    max_position_embeddings: Positive
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    is_decoder: bool = False


class _Entry(msgspec.Struct):
    """A tensor in the header of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read(folder: Path) -> Bert:
    """The model in a directory. Raises `EmbedderError` where files are missing or broken, and for what is no BERT for sentences."""
    lost = [name for name in ("config.json", WEIGHTS, TOKENIZER) if not (folder / name).is_file()]
    if lost:
        raise EmbedderError(f"{folder} has no {', '.join(lost)}", _HINT)
    config = _config(folder)
    pooling = _pooling(folder)
    sentence = _document(folder / "sentence_bert_config.json", {})
    most = min(int(sentence.get("max_seq_length") or config.max_position_embeddings), config.max_position_embeddings)
    weights = (folder / WEIGHTS).resolve()
    tensors = _tensors(weights)
    _check(tensors, config, weights)
    return Bert(
        folder=folder,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        epsilon=config.layer_norm_eps,
        most_tokens=most,
        pooling=pooling,
        lower=bool(sentence.get("do_lower_case", False)),
        weights=weights,
        tensors=tensors,
        stamp=f"bert-{config.num_hidden_layers}x{config.hidden_size}:{pooling}:{most}:{_digest(weights, folder / TOKENIZER)}",
    )


def _config(folder: Path) -> _Config:
    try:
        config = msgspec.convert(_document(folder / "config.json"), _Config)
    except msgspec.ValidationError as problem:
        raise EmbedderError(f"{folder}/config.json is not a BERT's: {problem}", _HINT) from None
    odd = [
        f"{key} = {value}"
        for key, value, fits in (
            ("model_type", config.model_type, config.model_type == "bert"),
            ("hidden_act", config.hidden_act, config.hidden_act == "gelu"),
            ("position_embedding_type", config.position_embedding_type, config.position_embedding_type == "absolute"),
            ("is_decoder", config.is_decoder, not config.is_decoder),
            ("num_attention_heads", config.num_attention_heads, config.hidden_size % config.num_attention_heads == 0),
        )
        if not fits
    ]
    if odd:
        raise EmbedderError(f"the model in {folder} is not a BERT that can be computed here: {', '.join(odd)}", _HINT)
    return config


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    """How the vectors of tokens become one. A directory that doesn't say is read as sentence-transformers reads it: their mean."""
    modules = _document(folder / "modules.json", [])
    kinds = {str(module.get("type", "")).rpartition(".")[2]: str(module.get("path", "")) for module in modules}
    prompt = _document(folder / "config_sentence_transformers.json", {}).get("default_prompt_name")
    if kinds.keys() - MODULES or prompt:
        odd = ", ".join(sorted(kinds.keys() - MODULES)) or f"the prompt {prompt}"
        raise EmbedderError(f"the model in {folder} does more than is computed here: {odd}", _HINT)
    if "Pooling" not in kinds:
        return "mean"
    told = _document(folder / kinds["Pooling"] / "config.json")
    modes = {str(told["pooling_mode"])} if "pooling_mode" in told else {key for key, value in told.items() if value is True}
    if modes - {"include_prompt"} <= {"mean", "pooling_mode_mean_tokens"}:
        return "mean"
    if modes - {"include_prompt"} <= {"cls", "pooling_mode_cls_token"}:
        return "cls"
    raise EmbedderError(f"the model in {folder} pools by {', '.join(sorted(modes))}", "`mean` and `cls` are computed here")


def _document(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise EmbedderError(f"{path} cannot be read: {problem}", "Install or download the model anew") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    """What the header of a safetensors file tells (its format: 8 bytes of length, JSON, data), checked against the file's size."""
    broken = EmbedderError(f"{path} is broken", "Install or download the weights anew")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, _MOST_HEADER):
            raise broken
        try:
            entries = msgspec.json.decode(file.read(length), type=dict[str, Any])
            entries.pop("__metadata__", None)
            told = msgspec.convert(entries, dict[str, _Entry])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise broken from None
    start = 8 + length
    tensors = {}
    for name, entry in told.items():
        begin, end = entry.data_offsets
        fits = 0 <= begin <= end <= size - start and end - begin == math.prod(entry.shape) * SIZES.get(entry.dtype, -1)
        if not fits:
            raise broken
        tensors[name.removeprefix("bert.")] = Tensor(entry.dtype, entry.shape, start + begin, end - begin)
    return tensors


def shapes(layers: int, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a BERT, embeddings of words and positions apart: their lengths are the vocabulary's and the longest text's."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        own = f"encoder.layer.{layer}."
        for name, out, into in (
            *((f"attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ):
            found |= {f"{own}{name}.weight": (out, into), f"{own}{name}.bias": (out,)}
    norms = ["embeddings.LayerNorm"]
    norms += [f"encoder.layer.{layer}.{part}.LayerNorm" for layer in range(layers) for part in ("attention.output", "output")]
    return found | {f"{norm}.{part}": (hidden,) for norm in norms for part in ("weight", "bias")}


def _check(tensors: dict[str, Tensor], config: _Config, path: Path) -> None:
    wanted = shapes(config.num_hidden_layers, config.hidden_size, config.intermediate_size)
    wanted |= {
        "embeddings.word_embeddings.weight": (config.vocab_size, config.hidden_size),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, config.hidden_size),
    }
    kinds = tensors.get("embeddings.token_type_embeddings.weight")
    odd = [
        name for name, shape in wanted.items() if name not in tensors or tensors[name].shape != shape or tensors[name].kind not in FLOATS
    ]
    if kinds is None or len(kinds.shape) != 2 or kinds.shape[1] != config.hidden_size or kinds.shape[0] < 1 or kinds.kind not in FLOATS:
        odd.append("embeddings.token_type_embeddings.weight")
    if odd:
        raise EmbedderError(
            f"{path} does not hold what config.json says: {odd[0]} and {len(odd) - 1} more are missing or of another shape", _HINT
        )


def _digest(*paths: Path) -> str:
    """12 hex digits of what vectors depend on: weights and tokenizer."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:12]
