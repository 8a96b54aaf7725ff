"""Writes llamas of random weights as GGUF: about 0.3 million parameters, a byte-level tokenizer made by hand, the same bytes every time.

Random weights say nothing sensible, but every part of the engine runs on them. The first dimension of the residual stream is
kept constant, and the output layer uses it as a bias: only whole words are ever sampled, so answers are readable.
"""

from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
import numpy.typing as npt

CONTEXT = 2048
HEADS, KV_HEADS = 4, 2
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
WORDS = (
    "the a water gate flow power river dam turbine pressure valve pipe lake stone steel light rain night day cost price "
    "is was turns holds feeds opens closes runs falls and or but with under over through to from slow fast cold deep high"
).split()
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Weights = npt.NDArray[np.float32]


class Build(NamedTuple):
    """What sets one model apart from another."""

    layers: int
    hidden: int
    ffn: int
    seed: int
    end_bias: float
    """how soon the turn ends"""


BUILDS = {
    "tiny": Build(2, 64, 128, 3, 2.0),  # ends after some words, but for greedy answers
    "smaller": Build(1, 64, 64, 5, 3.0),  # greedy answers of both end, too
    "larger": Build(3, 64, 128, 13, 7.0),
}


def byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[str], set[int]]:
    """Tokens, merges, and the ids that may be sampled: whole words and the end of the turn."""
    letters = byte_letters()
    tokens = [*SPECIAL, *letters]
    merges: list[str] = []
    sampled = {SPECIAL.index("<|im_end|>")}
    for word in WORDS:
        joined = letters[ord(" ")]
        for letter in word:
            if joined + letter not in tokens:
                tokens.append(joined + letter)
                merges.append(f"{joined} {letter}")
            joined += letter
        sampled.add(tokens.index(joined))
    return tokens, merges, sampled


def write(path: Path, build: Build = BUILDS["tiny"]) -> None:
    """Writes the model to `path` (about 0.6 MB, F16)."""
    tokens, merges, sampled = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, tokens, merges, build)
    for name, tensor in _weights(np.random.default_rng(build.seed), len(tokens), sampled, build).items():
        writer.add_tensor(name, tensor if tensor.ndim == 1 else tensor.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, tokens: list[str], merges: list[str], build: Build) -> None:
    writer.add_name("tiny random llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(len(tokens))
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(build.hidden)
    writer.add_block_count(build.layers)
    writer.add_feed_forward_length(build.ffn)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(build.hidden // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control] * len(SPECIAL) + [normal] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_unk_token_id(SPECIAL.index("<unk>"))
    writer.add_bos_token_id(SPECIAL.index("<s>"))
    writer.add_eos_token_id(SPECIAL.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _weights(rng: np.random.Generator, vocab: int, sampled: set[int], build: Build) -> dict[str, Weights]:
    hidden, ffn = build.hidden, build.ffn

    def random(rows: int, columns: int, scale: float) -> Weights:
        return rng.normal(0, scale, (rows, columns)).astype(np.float32)

    kv = hidden // HEADS * KV_HEADS
    embedding, output = random(vocab, hidden, 1.0), random(vocab, hidden, 0.25)
    embedding[:, 0] = 4.0
    output[:, 0] = [0.0 if token in sampled else -30.0 for token in range(vocab)]
    output[SPECIAL.index("<|im_end|>")] = 0.0
    output[SPECIAL.index("<|im_end|>"), 0] = build.end_bias
    weights = {"token_embd.weight": embedding, "output.weight": output, "output_norm.weight": np.ones(hidden, np.float32)}
    for layer in range(build.layers):
        block = {
            "attn_q": random(hidden, hidden, 0.2),
            "attn_k": random(kv, hidden, 0.2),
            "attn_v": random(kv, hidden, 0.3),
            "attn_output": random(hidden, hidden, 0.3),
            "ffn_gate": random(ffn, hidden, 0.2),
            "ffn_up": random(ffn, hidden, 0.2),
            "ffn_down": random(hidden, ffn, 0.2),
        }
        block["attn_output"][0, :] = 0.0
        block["ffn_down"][0, :] = 0.0
        weights |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
        weights |= {f"blk.{layer}.{name}.weight": np.ones(hidden, np.float32) for name in ("attn_norm", "ffn_norm")}
    return weights
