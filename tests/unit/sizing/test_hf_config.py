"""Reading config.json: each family's field names give the architecture that the catalogue has, and what is unknown is refused."""

import msgspec
import pytest

from penstock.adapters.feeds.catalogue import find_architecture
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.hf_config import ArchitectureError, from_hf_config, stored_format

LLAMA: dict[str, object] = {
    "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_hidden_layers": 80,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "rope_scaling": {"factor": 8.0},
}  # fmt: skip
MIXTRAL: dict[str, object] = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768, "num_local_experts": 8, "num_experts_per_tok": 2,
    "sliding_window": None, "tie_word_embeddings": False,
}  # fmt: skip
DEEPSEEK: dict[str, object] = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_attention_heads": 128,
    "num_key_value_heads": 128, "num_hidden_layers": 61, "vocab_size": 129280, "max_position_embeddings": 163840, "n_routed_experts": 256,
    "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "moe_layer_freq": 1, "kv_lora_rank": 512,
    "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}  # fmt: skip
QWEN_3_MOE: dict[str, object] = {
    "model_type": "qwen3_moe", "hidden_size": 4096, "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_attention_heads": 64,
    "num_key_value_heads": 4, "head_dim": 128, "num_hidden_layers": 94, "vocab_size": 151936, "max_position_embeddings": 40960,
    "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [], "sliding_window": None,
    "use_sliding_window": False, "tie_word_embeddings": False,
}  # fmt: skip
QWEN_3_5: dict[str, object] = {
    "model_type": "qwen3_5_moe", "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_5_moe_text", "attn_output_gate": True, "full_attention_interval": 4, "head_dim": 256, "hidden_size": 4096,
        "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 15, "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 64, "linear_value_head_dim": 128,
        "max_position_embeddings": 262144, "moe_intermediate_size": 1024, "num_attention_heads": 32, "num_experts": 512,
        "num_experts_per_tok": 10, "num_hidden_layers": 60, "num_key_value_heads": 2, "shared_expert_intermediate_size": 1024,
        "vocab_size": 248320, "mlp_only_layers": [],
    },
    "vision_config": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304},
}  # fmt: skip
QWEN_3_NEXT: dict[str, object] = {
    "model_type": "qwen3_next", "full_attention_interval": 4, "head_dim": 256, "hidden_size": 2048, "intermediate_size": 5120,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
    "linear_value_head_dim": 128, "max_position_embeddings": 262144, "mlp_only_layers": [], "moe_intermediate_size": 512,
    "num_attention_heads": 16, "num_experts": 512, "num_experts_per_tok": 10, "num_hidden_layers": 48, "num_key_value_heads": 2,
    "shared_expert_intermediate_size": 512, "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
GEMMA_3: dict[str, object] = {
    "model_type": "gemma3", "text_config": {
        "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504, "num_attention_heads": 32, "num_hidden_layers": 62,
        "num_key_value_heads": 16, "head_dim": 128, "sliding_window": 1024, "vocab_size": 262208, "max_position_embeddings": 131072,
    },
    "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27},
}  # fmt: skip
GPT_OSS: dict[str, object] = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_attention_heads": 64, "num_key_value_heads": 8,
    "head_dim": 64, "num_hidden_layers": 36, "vocab_size": 201088, "max_position_embeddings": 131072, "num_local_experts": 128,
    "num_experts_per_tok": 4, "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 18,
    "tie_word_embeddings": False, "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip
MAVERICK: dict[str, object] = {
    "model_type": "llama4", "text_config": {
        "model_type": "llama4_text", "attention_chunk_size": 8192, "head_dim": 128, "hidden_size": 5120, "interleave_moe_layer_step": 2,
        "intermediate_size": 8192, "intermediate_size_mlp": 16384, "max_position_embeddings": 1048576, "num_attention_heads": 40,
        "num_experts_per_tok": 1, "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": 128, "vocab_size": 202048,
    },
}  # fmt: skip
BLOOM: dict[str, object] = {"model_type": "bloom", "n_layer": 70, "n_embd": 14336, "n_head": 112, "vocab_size": 250880, "seq_length": 2048}
GEMMA_2: dict[str, object] = {
    "model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_attention_heads": 16, "num_hidden_layers": 42,
    "num_key_value_heads": 8, "head_dim": 256, "sliding_window": 4096, "vocab_size": 256000, "max_position_embeddings": 8192,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (LLAMA, "llama-3.1-70b"), (MIXTRAL, "mixtral-8x7b"), (DEEPSEEK, "deepseek-v3"), (QWEN_3_MOE, "qwen3-235b-a22b"),
        (QWEN_3_5, "qwen3.5-397b-a17b"), (QWEN_3_NEXT, "qwen3-next-80b-a3b"), (GEMMA_3, "gemma-3-27b"), (GPT_OSS, "gpt-oss-120b"),
        (MAVERICK, "llama-4-maverick-17b-128e"), (BLOOM, "bloom-176b"), (GEMMA_2, "gemma-2-9b"),
    ],
)  # fmt: skip
def test_families_give_the_catalogues_architecture(config: dict[str, object], name: str) -> None:
    known, read = find_architecture(name), from_hf_config(config, name)
    for field in Architecture.__struct_fields__:
        if field != "extra_parameters":
            assert getattr(read, field) == getattr(known, field), field
    assert (read.extra_parameters > 0) == ("vision_config" in config)


def test_what_gemma_3_leaves_out_is_the_default_of_its_type() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    read, known = from_hf_config({"model_type": "gemma3", "text_config": text}, "mine"), find_architecture("gemma-3-4b")
    for field in ("heads", "kv_heads", "head_dim", "vocabulary", "tied", "window", "windowed_layers", "max_context"):
        assert getattr(read, field) == getattr(known, field), field


def test_a_vision_tower_is_estimated() -> None:
    assert from_hf_config(GEMMA_3, "gemma").extra_parameters == pytest.approx(420e6, rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "`hidden_size` is missing: is this the config.json of a language model"),
        ({"num_hidden_layers": "80"}, "`num_hidden_layers` is '80', not a whole number"),
        ({"vocab_size": -1}, "`vocab_size` is -1"),
        ({"num_attention_heads": True}, "`num_attention_heads` is True"),
        ({"hybrid_override_pattern": "M-M*"}, "`hybrid_override_pattern`: layers of Mamba"),
        ({"attn_type_list": [1, 0, 1]}, "`attn_type_list`: layers of lightning attention"),
        ({"hidden_size_per_layer_input": 256}, "embeddings of each layer"),
        ({"is_encoder_decoder": True}, "only decoder-only"),
        ({"kv_lora_rank": 512}, "`qk_rope_head_dim` is missing"),
        ({"num_local_experts": 8}, "`num_experts_per_tok` is missing"),
        ({"num_local_experts": 8, "num_experts_per_tok": 9}, "`num_experts_per_tok` is 9, of 8 experts"),
        ({"model_type": "bert"}, "`model_type` bert: an encoder makes no text"),
        ({"model_type": "clip", "text_config": {**LLAMA, "model_type": "clip_text_model"}}, "`model_type` clip: an encoder"),
        ({"architectures": ["EsmForMaskedLM"]}, "an encoder makes no text"),
        ({"num_attention_heads": 10**6}, "more than `hidden_size`"),
        ({"num_key_value_heads": 7}, "cannot share 7 of `num_key_value_heads`"),
        ({"num_hidden_layers": 10**30}, "not a whole number from 0 to 1,000,000,000"),
        ({"layer_types": ["conv", "full_attention"]}, "`layer_types`: layers of conv"),
        ({"layer_types": ["full_attention"]}, "`layer_types` names 1 layers"),
        ({"lru_width": 2560}, "recurrent layers"),
    ],
)
def test_what_cannot_be_read_names_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=f"mine: .*{message}"):
        from_hf_config({**LLAMA, **change}, "mine")


def test_layers_without_a_mixture_are_counted() -> None:
    read = from_hf_config({**QWEN_3_MOE, "mlp_only_layers": [0, 1, 93]}, "mine")
    assert read.experts is not None
    assert read.experts.dense_layers == 3
    every_second = from_hf_config({**QWEN_3_MOE, "decoder_sparse_step": 2}, "mine")
    assert every_second.experts is not None
    assert every_second.experts.dense_layers == 47


def test_layers_with_a_mixture_may_be_marked_one_by_one() -> None:
    marked = [0, 0] + [1] * (int(str(LLAMA["num_hidden_layers"])) - 2)
    mixture = {"num_local_experts": 8, "num_experts_per_tok": 2, "moe_layer_freq": marked}
    read = from_hf_config({**LLAMA, **mixture}, "mine").experts
    assert read is not None
    assert read.dense_layers == 2


@pytest.mark.parametrize(("kind", "tied"), [("falcon", True), ("opt", True), ("starcoder2", True), ("llama", False), ("qwen2", False)])
def test_families_that_leave_tied_embeddings_unsaid(kind: str, tied: bool) -> None:
    config = {name: value for name, value in LLAMA.items() if name != "tie_word_embeddings"}
    assert from_hf_config({**config, "model_type": kind}, "mine").tied == tied


def test_a_missing_number_of_kv_heads_means_as_many_as_heads() -> None:
    config = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
    assert from_hf_config(config, "mine").kv_heads == 64


@pytest.mark.parametrize(
    ("quantised", "format"),
    [
        ({"quant_method": "fp8"}, "fp8"), ({"quant_method": "awq", "bits": 4}, "int4"), ({"quant_method": "gptq", "bits": 8}, "int8-w8a16"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"), ({"quant_method": "something"}, None), (None, None),
    ],
)  # fmt: skip
def test_the_stored_format_is_read(quantised: dict[str, object] | None, format: str | None) -> None:
    assert stored_format({**LLAMA, "quantization_config": quantised}) == format


def test_json_of_a_config_is_enough() -> None:
    assert from_hf_config(msgspec.json.decode(msgspec.json.encode(DEEPSEEK)), "deepseek-v3").latent is not None
