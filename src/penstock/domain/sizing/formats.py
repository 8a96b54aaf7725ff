"""Formats that weights are stored in, what they take, and which hardware has kernels for them.

Kernels as vLLM documents them ("Quantization: supported hardware", "FP8 W8A8", "INT8 W8A8"; read 2026-11-22): FP8 arithmetic needs
compute capability 8.9, below that FP8 weights are unpacked by Marlin; INT8 arithmetic exists from 7.5 to below 10.0; 4-bit weights
are always unpacked (Marlin) except FP4 on Blackwell and CDNA4. Accuracy: "Give Me BF16 or Give Me Death?", arXiv 2411.02355.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

import msgspec

from penstock.domain.sizing.accelerators import Accelerator, Precision, UnknownNameError, not_known

Kernels = Literal["native", "weight-only", "none"]
"""arithmetic in the format itself; weights unpacked to 16 bits for each multiplication; not to be had"""
Capability = tuple[int, int]
GROUP = 128


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How the matrices of a model are stored. Scales are part of the bits."""

    name: str
    also: tuple[str, ...] = ()
    bits: Fraction
    """per weight of the quantised matrices"""
    embedding_bits: Fraction = Fraction(16)
    """per weight of the embeddings and the head, which most formats leave alone"""
    compute: Precision
    """of the arithmetic where kernels are native"""
    experts_only: bool = False
    """attention, shared experts and routers stay at 16 bits"""
    native_from: Capability | None = None
    """NVIDIA compute capability"""
    native_below: Capability | None = None
    weight_only_from: Capability | None = None
    elsewhere: Mapping[str, Kernels] = {}
    """by generation of devices that are not NVIDIA's"""


def _scaled(bits: int, scale_bits: int, group: int) -> Fraction:
    return bits + Fraction(scale_bits, group)


FORMATS: tuple[Format, ...] = (
    Format(
        name="bf16", also=("bfloat16", "16bit"), bits=Fraction(16), compute="bf16", native_from=(8, 0),
        elsewhere={"cdna3": "native", "cdna4": "native", "tpu-v5e": "native", "tpu-v6e": "native",
                   "inferentia2": "native", "trainium2": "native"},
    ),
    Format(
        name="fp16", also=("float16", "half"), bits=Fraction(16), compute="fp16", native_from=(7, 0),
        elsewhere={"cdna3": "native", "cdna4": "native", "inferentia2": "native", "trainium2": "native"},
    ),
    Format(
        name="fp8", also=("float8", "w8a8-fp8", "fp8-block", "fp8-dynamic"), bits=Fraction(8), compute="fp8",
        native_from=(8, 9), weight_only_from=(7, 5), elsewhere={"cdna3": "native", "cdna4": "native",
                                                               "inferentia2": "weight-only", "trainium2": "weight-only"},
    ),
    Format(
        name="int8", also=("w8a8", "8bit"), bits=Fraction(8), compute="int8", native_from=(7, 5), native_below=(10, 0),
        elsewhere={"tpu-v5e": "native", "tpu-v6e": "native", "inferentia2": "weight-only", "trainium2": "weight-only"},
    ),
    Format(
        name="int8-w8a16", also=("gptq-8bit", "w8a16"), bits=_scaled(8, 16, GROUP), compute="bf16", weight_only_from=(7, 5),
    ),
    Format(
        name="int4", also=("gptq", "awq", "w4a16", "gptq-4bit", "4bit"), bits=_scaled(4, 16 + 4, GROUP), compute="bf16",
        weight_only_from=(7, 5),
    ),
    Format(
        name="nf4", also=("bitsandbytes", "bnb"), bits=4 + Fraction(8, 64) + Fraction(32, 64 * 256), compute="bf16",
        weight_only_from=(7, 0),
    ),
    Format(
        name="nvfp4", also=("fp4", "w4a4"), bits=_scaled(4, 8, 16), compute="fp4", native_from=(10, 0), weight_only_from=(7, 5),
    ),
    Format(
        name="mxfp4", bits=_scaled(4, 8, 32), compute="fp4", experts_only=True, native_from=(10, 0), weight_only_from=(8, 0),
        elsewhere={"cdna3": "weight-only", "cdna4": "native"},
    ),
    Format(
        name="gguf-q4_k_m", also=("q4_k_m", "gguf"), bits=Fraction("4.8"), embedding_bits=Fraction("5.53"), compute="bf16",
        weight_only_from=(7, 0), elsewhere={"cdna3": "weight-only", "cdna4": "weight-only"},
    ),
    Format(
        name="gguf-q8_0", also=("q8_0",), bits=_scaled(8, 16, 32), embedding_bits=_scaled(8, 16, 32), compute="bf16",
        weight_only_from=(7, 0), elsewhere={"cdna3": "weight-only", "cdna4": "weight-only"},
    ),
)  # fmt: skip
"""`int8` has one scale per channel; `int4` a 16-bit scale and a 4-bit zero point per 128 weights; `nf4` doubly quantised scales;
`nvfp4` an 8-bit scale per 16 weights, `mxfp4` per 32. `gguf-q4_k_m` mixes 4- and 6-bit blocks and quantises the embeddings too: its bits
are those of published files (Llama-3.1-8B 4.92 GB, 70B 42.52 GB)."""


def find_format(name: str) -> Format:
    """The format that is meant by `fp8`, `AWQ` or another name in use. Raises `UnknownNameError`."""
    asked = name.strip().lower().replace("_", "-")
    for known in FORMATS:
        if asked in (each.replace("_", "-") for each in (known.name, *known.also)):
            return known
    raise UnknownNameError(not_known("format", name, [known.name for known in FORMATS]))


def runs_on(format: Format, accelerator: Accelerator) -> Kernels:
    """Whether the device computes in the format, only unpacks it, or neither."""
    if accelerator.vendor != "nvidia":
        return format.elsewhere.get(accelerator.generation, "none")
    capability = _capability(accelerator)
    below = format.native_below is None or capability < format.native_below
    if format.native_from is not None and capability >= format.native_from and below:
        return "native"
    if format.weight_only_from is not None and capability >= format.weight_only_from and below:
        return "weight-only"
    return "none"


def why_not(format: Format, accelerator: Accelerator) -> str:
    """Why a format has no kernels on a device, and what to use there."""
    where = f"{accelerator.name} ({accelerator.generation})"
    if format.name == "bf16" and accelerator.vendor == "nvidia":
        return f"no bf16 arithmetic on {where}: it begins with compute capability 8.0; use fp16"
    if format.name == "int8" and accelerator.vendor == "nvidia" and _capability(accelerator) >= (10, 0):
        return f"no int8 kernels on {where}: use fp8"
    usable = [each.name for each in FORMATS if runs_on(each, accelerator) != "none"]
    return f"no {format.name} kernels on {where}: use {', '.join(usable)}"


def computes_in(format: Format, accelerator: Accelerator) -> Precision:
    """The precision of the multiplications: of the format where kernels are native, else 16 bits."""
    if runs_on(format, accelerator) == "native" and format.compute in accelerator.flops:
        return format.compute
    return "bf16" if "bf16" in accelerator.flops else "fp16"


def _capability(accelerator: Accelerator) -> Capability:
    major, _, minor = (accelerator.compute_capability or "0.0").partition(".")
    return int(major), int(minor or 0)
