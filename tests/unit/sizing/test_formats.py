"""Formats: what a weight takes, and which devices have kernels."""

from fractions import Fraction

import pytest

from penstock.adapters.feeds.catalogue import accelerators
from penstock.domain.sizing.accelerators import Accelerator, UnknownNameError, find
from penstock.domain.sizing.formats import FORMATS, computes_in, find_format, runs_on, why_not

NATIVE, UNPACKED, NONE = "native", "weight-only", "none"


def device(name: str) -> Accelerator:
    return find(name, accelerators())


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("bf16", {"V100-16GB": NONE, "T4": NONE, "A100-80GB": NATIVE, "L4": NATIVE, "H100": NATIVE, "B200": NATIVE, "MI300X": NATIVE}),
        ("fp16", {"V100-16GB": NATIVE, "T4": NATIVE, "H100": NATIVE, "TPU-v5e": NONE}),
        ("fp8", {"V100-16GB": NONE, "T4": UNPACKED, "A100-80GB": UNPACKED, "L4": NATIVE, "H100": NATIVE, "B200": NATIVE, "MI300X": NATIVE}),
        ("int8", {"V100-16GB": NONE, "T4": NATIVE, "A100-80GB": NATIVE, "H100": NATIVE, "B200": NONE, "TPU-v6e": NATIVE, "MI300X": NONE}),
        ("int4", {"V100-16GB": NONE, "T4": UNPACKED, "A100-80GB": UNPACKED, "H100": UNPACKED, "B200": UNPACKED, "MI300X": NONE}),
        ("nvfp4", {"A100-80GB": UNPACKED, "H100": UNPACKED, "B200": NATIVE, "GB300": NATIVE, "MI355X": NONE}),
        ("mxfp4", {"T4": NONE, "H100": UNPACKED, "B200": NATIVE, "MI300X": UNPACKED, "MI355X": NATIVE}),
    ],
)
def test_kernels_by_generation(format: str, expected: dict[str, str]) -> None:
    assert {name: runs_on(find_format(format), device(name)) for name in expected} == expected


def test_bits_hold_the_scales() -> None:
    bits = {each.name: each.bits for each in FORMATS}
    assert bits["int4"] == Fraction(4) + Fraction(20, 128)
    assert float(bits["nf4"]) == pytest.approx(4.127, abs=0.001)
    assert [float(bits[name]) for name in ("nvfp4", "mxfp4", "fp8", "int8")] == [4.5, 4.25, 8, 8]


def test_arithmetic_is_of_the_format_only_where_kernels_are_native() -> None:
    assert computes_in(find_format("fp8"), device("H100")) == "fp8"
    assert computes_in(find_format("fp8"), device("A100-80GB")) == "bf16"
    assert computes_in(find_format("int4"), device("B200")) == "bf16"
    assert computes_in(find_format("int4"), device("T4")) == "fp16"
    for format in FORMATS:
        for each in accelerators():
            assert computes_in(format, each) in each.flops, (format.name, each.name)


def test_a_lack_says_what_to_use_instead() -> None:
    assert "use fp16" in why_not(find_format("bf16"), device("T4"))
    assert "use fp8" in why_not(find_format("int8"), device("B200"))
    assert "use bf16, fp8" in why_not(find_format("int4"), device("Trainium2")).replace("fp16, ", "")


def test_names_in_use_are_known_and_others_get_the_nearest() -> None:
    assert {name: find_format(name).name for name in ("AWQ", "gptq", "float8", "bnb", "q4_k_m", "W8A8")} == {
        "AWQ": "int4", "gptq": "int4", "float8": "fp8", "bnb": "nf4", "q4_k_m": "gguf-q4_k_m", "W8A8": "int8",
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"no format `fp9` is known; the nearest: .*fp8"):
        find_format("fp9")


def test_every_format_runs_somewhere_and_every_device_runs_something() -> None:
    for format in FORMATS:
        assert any(runs_on(format, each) != NONE for each in accelerators()), format.name
    for each in accelerators():
        assert any(runs_on(format, each) == NATIVE for format in FORMATS), each.name
