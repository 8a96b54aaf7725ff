"""Mooncake's traces (github.com/kvcache-ai/Mooncake, FAST'25, Apache-2.0): JSON lines with the hashes of 512-token prefix blocks."""

from penstock.capacity.traces.formats import Format

FORMAT = Format(
    word="mooncake",
    name="Mooncake trace",
    marks=frozenset({"timestamp", "inputlength", "outputlength"}),
    arrival=("timestamp",),
    input=("inputlength",),
    output=("outputlength",),
    blocks=("hashids",),
    unit="ms",
)
