"""An architecture as a Hugging Face `config.json` describes it: the field names of transformers, and what each family leaves unsaid."""

from collections.abc import Mapping, Sequence
from typing import cast

from penstock.domain.sizing.architecture import Architecture, Experts, Latent, Linear

Config = Mapping[str, object]
NESTED = ("text_config", "llm_config", "language_config")
"""where models that also see or hear keep the language model"""
TIED = (
    "gemma", "gemma2", "gemma3", "gemma3_text", "bloom", "cohere", "cohere2", "gpt2", "falcon", "opt", "mpt", "starcoder2", "gpt_bigcode",
)  # fmt: skip
"""model types whose config leaves `tie_word_embeddings` out, and mean yes"""
ENCODERS = (
    "albert", "bert", "camembert", "clip", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "esm", "longformer", "modernbert",
    "mpnet", "nomic_bert", "roberta", "siglip", "vit", "wav2vec2", "xlm-roberta",
)  # fmt: skip
"""model types that read and make no text"""
DEFAULTS: Mapping[str, Config] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208, "max_position_embeddings": 131_072,
    },
}  # fmt: skip
"""what published configs of a model type leave out where it is the default of transformers: those of Gemma 3 4B"""
LAYER_TYPES = ("full_attention", "sliding_attention", "chunked_attention", "linear_attention")
MOST = 10**9
"""of any field"""
UNGATED = ("bloom", "gpt2", "gpt_neox", "gptj", "opt", "mpt", "falcon", "phi", "starcoder2", "gpt_bigcode", "nemotron")
"""model types whose feed-forward part has two matrices"""
REFUSED = {
    "hybrid_override_pattern": "layers of Mamba",
    "mamba_d_state": "layers of Mamba",
    "ssm_state_size": "layers of Mamba",
    "state_size": "layers of Mamba",
    "attention_free": "layers without attention",
    "lru_width": "recurrent layers (RG-LRU)",
    "linear_attn_config": "layers of Kimi Delta Attention",
    "hidden_size_per_layer_input": "embeddings of each layer",
}
QUANTISED = {
    "fp8": "fp8", "fbgemm_fp8": "fp8", "gptq": "int4", "awq": "int4", "gptq_marlin": "int4", "awq_marlin": "int4", "bitsandbytes": "nf4",
    "mxfp4": "mxfp4", "nvfp4": "nvfp4",
}  # fmt: skip
"""`quant_method` or `quant_algo` -> format"""
GEMMA_3_PATTERN = 6
"""of so many layers one sees everything, where the config does not say"""


class ArchitectureError(ValueError):
    """A `config.json` that cannot be read as a decoder-only model; the message names the field."""


def from_hf_config(config: Config, name: str) -> Architecture:
    """The architecture in a `config.json` as loaded from JSON. Raises `ArchitectureError`."""
    text = _language(config)
    text = {**DEFAULTS.get(str(text.get("model_type")), {}), **{field: value for field, value in text.items() if value is not None}}
    _refuse(config, text, name)
    kind = str(text.get("model_type") or config.get("model_type") or "")
    layers, hidden = _whole(text, name, "num_hidden_layers", "n_layer", "num_layers"), _whole(text, name, "hidden_size", "n_embd")
    heads = _whole(text, name, "num_attention_heads", "n_head")
    experts, latent = _experts(text, name, layers), _latent(text, name)
    if heads > hidden:
        raise ArchitectureError(f"{name}: `num_attention_heads` is {heads:,}, more than `hidden_size`, {hidden:,}")
    kv_heads = _optional(text, name, "num_key_value_heads", "num_kv_heads") or (1 if text.get("multi_query") else heads)
    if heads % kv_heads:
        raise ArchitectureError(f"{name}: {heads:,} heads of `num_attention_heads` cannot share {kv_heads:,} of `num_key_value_heads`")
    windowed, linear_layers = _windowed(text, kind, layers), _linear_layers(text, layers)
    window = _optional(text, name, "sliding_window", "attention_chunk_size") if windowed else None
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return Architecture(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_optional(text, name, "head_dim") or hidden // heads,
        vocabulary=_whole(text, name, "vocab_size"),
        intermediate=_intermediate(text, name, hidden, experts),
        tied=kind in TIED if tied is None else bool(tied),
        gated=kind not in UNGATED,
        experts=experts,
        latent=latent,
        window=window,
        windowed_layers=windowed if window else 0,
        linear_layers=linear_layers,
        linear=_linear(text, name) if linear_layers else None,
        gated_attention=bool(text.get("attn_output_gate", kind == "qwen3_next")),
        max_context=_optional(text, name, "max_position_embeddings", "n_positions", "seq_length"),
        extra_parameters=_vision(config, name),
    )


def stored_format(config: Config) -> str | None:
    """The format that a checkpoint is stored in by its `quantization_config`; None: it is not quantised, or in a way not known here."""
    quantised = config.get("quantization_config") or _language(config).get("quantization_config")
    if not isinstance(quantised, Mapping):
        return None
    for field in ("quant_method", "quant_algo", "format"):
        said = str(quantised.get(field) or "").lower()
        if said in ("gptq", "awq") and quantised.get("bits") == 8:
            return "int8-w8a16"
        if found := QUANTISED.get(said):
            return found
    return None


def _language(config: Config) -> Config:
    return next((cast(Config, config[key]) for key in NESTED if isinstance(config.get(key), Mapping)), config)


def _refuse(config: Config, text: Config, name: str) -> None:
    if config.get("is_encoder_decoder"):
        raise ArchitectureError(f"{name}: `is_encoder_decoder`: only decoder-only language models can be sized")
    kind, made = config.get("model_type") or text.get("model_type"), config.get("architectures")
    if kind in ENCODERS or (isinstance(made, Sequence) and any(str(each).endswith("ForMaskedLM") for each in made)):
        raise ArchitectureError(f"{name}: `model_type` {kind}: an encoder makes no text; only decoder-only language models can be sized")
    for field, what in REFUSED.items():
        if text.get(field):
            raise ArchitectureError(f"{name}: `{field}`: {what} are not known here, so memory and latency would be wrong")
    types, layers = text.get("layer_types"), text.get("num_hidden_layers")
    if isinstance(types, list):
        if unknown := sorted({str(each) for each in types} - set(LAYER_TYPES)):
            raise ArchitectureError(f"{name}: `layer_types`: layers of {', '.join(unknown)} are not known here")
        if layers is not None and len(types) != layers:
            raise ArchitectureError(f"{name}: `layer_types` names {len(types)} layers, `num_hidden_layers` is {layers}")
    kinds = text.get("attn_type_list")
    if isinstance(kinds, Sequence) and 0 in kinds:
        raise ArchitectureError(f"{name}: `attn_type_list`: layers of lightning attention are not known here")


def _intermediate(text: Config, name: str, hidden: int, experts: Experts | None) -> int:
    """Of layers without a mixture. Families differ in the field when there is one."""
    found = _optional(text, name, "intermediate_size_mlp", "intermediate_size", "n_inner", "ffn_hidden_size")
    if found is not None:
        return found
    return 4 * hidden if experts is None else experts.intermediate


def _experts(text: Config, name: str, layers: int) -> Experts | None:
    count = _optional(text, name, "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
    if count is None or count < 2:
        return None
    intermediate = _optional(text, name, "moe_intermediate_size") or _whole(text, name, "intermediate_size")
    llama_4 = "interleave_moe_layer_step" in text
    shared_width = _optional(text, name, "shared_expert_intermediate_size", "shared_intermediate_size")
    shared = _optional(text, name, "n_shared_experts") or (1 if shared_width or llama_4 else 0)
    active = _whole(text, name, "num_experts_per_tok", "moe_topk", "num_experts_per_token")
    if active > count:
        raise ArchitectureError(f"{name}: `num_experts_per_tok` is {active:,}, of {count:,} experts")
    return Experts(
        count=count,
        active=active,
        intermediate=intermediate,
        shared=shared,
        shared_intermediate=shared_width if shared_width != intermediate else None,
        dense_layers=_dense_layers(text, name, layers),
    )


def _dense_layers(text: Config, name: str, layers: int) -> int:
    """Layers without a mixture: the first ones, those named, and those between where every so many has one."""
    marked = text.get("moe_layer_freq")
    if isinstance(marked, list):  # 1 for each layer with a mixture
        return layers - len([each for each in marked if each == 1])
    step = _optional(text, name, "interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq") or 1
    first = _optional(text, name, "first_k_dense_replace") or 0
    named = text.get("mlp_only_layers") or ()
    if not isinstance(named, Sequence):
        raise ArchitectureError(f"{name}: `mlp_only_layers` is not a list of layers")
    dense = {index for index in range(layers) if index < first or (index + 1) % step or index in named}
    return len(dense)


def _latent(text: Config, name: str) -> Latent | None:
    rank = _optional(text, name, "kv_lora_rank")
    if rank is None:
        return None
    return Latent(
        kv_rank=rank,
        rope=_whole(text, name, "qk_rope_head_dim"),
        q_rank=_optional(text, name, "q_lora_rank"),
        nope=_whole(text, name, "qk_nope_head_dim"),
        value=_whole(text, name, "v_head_dim"),
        index_heads=_optional(text, name, "index_n_heads") or 0,
        index_dim=_optional(text, name, "index_head_dim") or 0,
    )


def _windowed(text: Config, kind: str, layers: int) -> int:
    """Layers with a sliding (or chunked) window."""
    types = text.get("layer_types")
    if isinstance(types, Sequence) and not isinstance(types, str):
        return sum(each in ("sliding_attention", "chunked_attention") for each in types)
    if text.get("attention_chunk_size"):
        return layers - layers // 4
    if text.get("use_sliding_window") is False or not text.get("sliding_window"):
        return 0
    if kind == "gemma2":
        return layers // 2
    if kind.startswith("gemma3"):
        return layers - layers // int(cast(int, text.get("sliding_window_pattern") or GEMMA_3_PATTERN))
    return layers


def _linear_layers(text: Config, layers: int) -> int:
    types = text.get("layer_types")
    if isinstance(types, Sequence) and "linear_attention" in types:
        return sum(each == "linear_attention" for each in types)
    interval = text.get("full_attention_interval")
    return layers - layers // interval if isinstance(interval, int) and interval > 0 and "linear_num_value_heads" in text else 0


def _linear(text: Config, name: str) -> Linear:
    return Linear(
        key_heads=_whole(text, name, "linear_num_key_heads"),
        value_heads=_whole(text, name, "linear_num_value_heads"),
        key_dim=_whole(text, name, "linear_key_head_dim"),
        value_dim=_whole(text, name, "linear_value_head_dim"),
        kernel=_whole(text, name, "linear_conv_kernel_dim"),
    )


def _vision(config: Config, name: str) -> int:
    """About what a vision tower weighs: the matrices of its layers."""
    tower = config.get("vision_config")
    if not isinstance(tower, Mapping):
        return 0
    layers = _optional(tower, name, "num_hidden_layers", "depth", "vt_num_hidden_layers")
    hidden = _optional(tower, name, "hidden_size", "vt_hidden_size")
    if layers is None or hidden is None:
        return 0
    inner = _optional(tower, name, "intermediate_size", "vt_intermediate_size") or 4 * hidden
    return layers * hidden * (4 * hidden + 2 * inner)


def _whole(text: Config, name: str, *fields: str) -> int:
    """The first of these fields that is there, a whole number above 0."""
    found = _optional(text, name, *fields)
    if found is None:
        raise ArchitectureError(f"{name}: `{fields[0]}` is missing: is this the config.json of a language model?")
    return found


def _optional(text: Config, name: str, *fields: str) -> int | None:
    for field in fields:
        value = text.get(field)
        if value is None or value is False:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
            raise ArchitectureError(f"{name}: `{field}` is {value!r:.40}, not a whole number from 0 to {MOST:,}")
        if value > 0:
            return value
    return None
