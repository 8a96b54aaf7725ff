"""The least time of an output token: weights that it passes, over the bandwidth."""

import pytest

from penstock.adapters.feeds.catalogue import accelerators, find_architecture
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.data_sheet import least_tpot_ms
from penstock.domain.sizing.formats import find_format


@pytest.mark.parametrize(
    ("model", "format", "gpu", "devices", "least_ms"),
    [
        ("llama-3.1-8b", "bf16", "L4", 1, 2 * 7.504e9 / 300e9 * 1000),
        ("llama-3.1-8b", "bf16", "H100", 1, 2 * 7.504e9 / 3.35e12 * 1000),
        ("llama-3.1-70b", "fp8", "H100", 2, (68.45e9 + 2 * 1.051e9) / 6.7e12 * 1000),
        ("gpt-oss-120b", "mxfp4", "H100", 1, 1.0),
    ],
)  # fmt: skip
def test_weights_of_a_token_over_the_bandwidth(model: str, format: str, gpu: str, devices: int, least_ms: float) -> None:
    found = least_tpot_ms(find_architecture(model), find_format(format), find(gpu, accelerators()), devices)
    assert found == pytest.approx(least_ms, rel=0.02 if model.startswith("llama") else 0.5)
