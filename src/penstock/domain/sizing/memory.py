"""The memory law: what weights take, what a token of context keeps, and what remains for it on a device or several.

    room per device = usable x utilisation - weights / devices - reserve
    KV tokens       = room / (bytes that one token keeps on one device)

Linear weights take the bits of their format, embeddings and head stay at 16 bits. Under tensor parallelism the weights are divided;
keys and values too, by heads, but no further than one head: with more devices than KV heads each head is kept several times, and the
latent of MLA (one per token for all heads) is kept on every device.
"""

from fractions import Fraction

import msgspec

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.formats import Format
from penstock.domain.sizing.mig import Slice, device_of
from penstock.domain.sizing.parameters import kv_elements, parameters

UTILISATION = 0.9
"""vLLM's default `--gpu-memory-utilization`"""
RUNTIME_BYTES = 1_500_000_000
"""a device's CUDA context, captured graphs and communication buffers; AIConfigurator keeps 3.5 GiB on an H100, activations included"""
LARGE_DEVICE_BYTES = 70 * 2**30
STEP_TOKENS = {False: 2048, True: 8192}
"""vLLM's `--max-num-batched-tokens` when serving: by whether the device is large"""
STATE_BITS = 32
"""of the state of linear attention"""
CONTEXT = 8192
DEGREES = (1, 2, 4, 8)
"""of tensor parallelism, within one machine"""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a number of devices of one kind: does it hold, and what remains for keys and values."""

    accelerator: str
    tensor_parallel: int
    mig: str | None
    """the profile, where the device is a slice"""
    weights_bytes: int
    """of the whole model"""
    reserve_bytes: int
    """of one device, as the next two"""
    usable_bytes: int
    """what the engine may use: its share of the memory that CUDA reports"""
    room_bytes: int
    """for keys and values; below 0: by how much the weights do not fit"""
    kv_tokens: int
    """of context that fit over all devices at once, at the context asked for"""
    requests: int
    """of the context asked for, that fit at once"""
    holds: bool
    """as many as were asked for fit"""
    why: str | None
    """what lacks, where it does not hold"""


def weights_bytes(architecture: Architecture, format: Format) -> int:
    """Bytes of all weights: quantised matrices, embeddings and head, and what is loaded besides."""
    counts = parameters(architecture)
    linear = Fraction(16) if format.experts_only else format.bits
    bits = counts.linear * linear + counts.experts * format.bits + counts.embeddings * format.embedding_bits + counts.other * 16
    return -(-bits.numerator // (bits.denominator * 8))


def kv_bytes_per_token(architecture: Architecture, kv_bits: int = 16) -> int:
    """Bytes that a token keeps in all layers while it is inside every window, on all devices together."""
    elements = kv_elements(architecture)
    return (elements.per_token + elements.windowed_per_token) * kv_bits // 8


def sequence_bytes(architecture: Architecture, tokens: int, tp: int = 1, kv_bits: int = 16) -> int:
    """Bytes that one sequence of `tokens` keeps on each of `tp` devices, rounded up."""
    elements = kv_elements(architecture)
    kept = elements.of_sequence(tokens) * kv_bits * _kept_share(architecture, tp) + Fraction(elements.per_sequence * STATE_BITS, tp)
    return -(-kept.numerator // (kept.denominator * 8))


def activation_bytes(architecture: Architecture, accelerator: Accelerator, tp: int = 1) -> int:
    """The peak of what a step holds between layers, on one device: 16-bit inputs and outputs of the widest layer for its tokens."""
    a = architecture
    tokens = STEP_TOKENS[accelerator.memory_bytes >= LARGE_DEVICE_BYTES]
    experts = a.experts
    width = a.intermediate if experts is None else max(a.intermediate, (experts.active + experts.shared) * experts.intermediate)
    return tokens * 2 * (4 * a.hidden + (2 * width + (a.heads + 2 * a.kv_heads) * a.head_dim) // tp)


def reserve(architecture: Architecture, accelerator: Accelerator, tp: int = 1) -> int:
    """What one device keeps besides weights and cache: the runtime and the activations' peak."""
    return RUNTIME_BYTES + activation_bytes(architecture, accelerator, tp)


def divides(architecture: Architecture, tp: int) -> str | None:
    """Why a model cannot be divided over that many devices; None: it can."""
    a = architecture
    if a.heads % tp:
        return f"{a.heads} attention heads are not divisible by {tp}"
    if a.latent is None and a.kv_heads % tp and tp % a.kv_heads:
        return f"{a.kv_heads} KV heads can be neither divided by {tp} nor repeated"
    return None


def fit(
    architecture: Architecture,
    format: Format,
    accelerator: Accelerator,
    tp: int = 1,
    mig: Slice | None = None,
    kv_bits: int = 16,
    utilisation: float = UTILISATION,
    reserve_bytes: int | None = None,
    context: int = CONTEXT,
    requests: int = 1,
) -> Fit:
    """Whether `requests` requests of `context` tokens (prompt and answer) fit at once on `tp` devices, or on one slice of one.

    `reserve_bytes` of one device: by default `reserve`. A slice takes no part in tensor parallelism. Raises `ValueError` for a
    `tp`, `context` or `requests` below 1, and for a slice with `tp` above 1.
    """
    if min(tp, context, requests) < 1 or (mig is not None and tp > 1):
        raise ValueError("`tp`, `context` and `requests` are 1 or more, and a slice of MIG has no neighbours")
    device = accelerator if mig is None else device_of(accelerator, mig)
    context = min(context, architecture.max_context or context)
    kept = reserve(architecture, device, tp) if reserve_bytes is None else reserve_bytes
    weights = weights_bytes(architecture, format)
    usable = int(device.memory_bytes * utilisation)
    room = usable - kept + -weights // tp
    one = sequence_bytes(architecture, context, tp, kv_bits)
    tokens = max(0, room) * context // one
    fitting = max(0, room) // one
    why = divides(architecture, tp)
    if why is not None:
        tokens = fitting = 0
    elif room < 0:
        why = f"weights and reserve take {-room / 1e9:.1f} GB more than a device has"
    elif fitting < requests:
        said = "1 request" if requests == 1 else f"{requests} requests"
        why = f"{said} of {context:,} tokens need {requests * context:,} KV tokens; {tokens:,} fit"
    return Fit(
        accelerator=accelerator.name, tensor_parallel=tp, mig=None if mig is None else mig.name, weights_bytes=weights,
        reserve_bytes=kept, usable_bytes=usable, room_bytes=room, kv_tokens=tokens, requests=fitting, holds=why is None, why=why,
    )  # fmt: skip


def _kept_share(architecture: Architecture, tp: int) -> Fraction:
    """Of a token's keys and values, what one of `tp` devices keeps."""
    if architecture.latent is not None:
        return Fraction(1)
    return Fraction(-(-architecture.kv_heads // tp), architecture.kv_heads)
