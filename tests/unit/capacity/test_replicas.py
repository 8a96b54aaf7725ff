"""A model on hardware: as few devices as hold it, what would hold it where it does not fit, and names with their nearest."""

from fractions import Fraction

import pytest

from penstock.adapters.feeds.catalogue import accelerators, find_architecture
from penstock.bootstrap.simulating import Misnamed, Named, fleet_named, hardware
from penstock.capacity.replicas import DoesNotFit, deployed
from penstock.config.load import parse
from penstock.domain.sizing.accelerators import find

FLEETS = """
version = 1
[upstreams.local]
base_urls = ["http://127.0.0.1:9/v1"]
[models.chat]
upstream = "local"
name = "meta-llama/Llama-3.1-8B-Instruct"
[fleets.own]
upstream = "local"
gpu = "L40S"
count = 3
price = "0.79 USD/gpu-hour"
[fleets.slice]
gpu = "A100-80GB"
mig = "2g.20gb"
price = "1 USD/hour"
"""


def on(gpu: str, model: str = "llama-3.1-70b", **how: object) -> tuple[int, str]:
    made, _ = deployed(find_architecture(model), find(gpu, accelerators()), **how)  # type: ignore[arg-type]
    return made.tensor_parallel, made.format.name


def test_as_few_devices_as_hold_it() -> None:
    assert on("L40S", "llama-3.1-8b") == (1, "bf16")
    assert on("H100-80GB") == (2, "bf16") and on("L40S") == (4, "bf16")
    assert on("H100-80GB", format="fp8") == (2, "fp8"), "72.7 GB of weights leave no room for a request of 8,192 tokens"
    assert on("H100-80GB", format="int4") == (1, "int4")
    assert on("T4-16GB", "llama-3.1-8b", format="int4") == (1, "int4")


def test_a_device_without_bf16_takes_fp16() -> None:
    assert on("V100-32GB", "llama-3.1-8b") == (1, "fp16")


def test_what_would_hold_it_is_said() -> None:
    with pytest.raises(DoesNotFit, match="does not fit on 1 x L40S-48GB") as found:
        on("L40S", tensor_parallel=1)
    assert found.value.hint.startswith("--tp 4 ")
    with pytest.raises(DoesNotFit) as found:
        on("H100-80GB", tensor_parallel=1)
    assert found.value.hint.startswith("--tp 2 or --format int4 would hold it")
    with pytest.raises(DoesNotFit) as found:
        on("T4-16GB", "deepseek-v3")
    assert "nothing of this kind holds it" in found.value.hint


def test_seventy_billion_at_four_bits_do_not_serve_on_40_gb() -> None:
    with pytest.raises(DoesNotFit):
        on("A100-40GB", format="int4", tensor_parallel=1)


def test_a_format_without_kernels_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="does not run on V100-32GB"):
        on("V100-32GB", "llama-3.1-8b", format="int8")


def test_prices_come_from_what_is_named_and_else_from_the_cheapest_offer() -> None:
    told = hardware(Named(model="llama-3.1-8b", gpu="L40S", tensor_parallel=2), None)
    one = hardware(Named(model="llama-3.1-8b", gpu="L40S"), None)
    assert told.usd_per_hour is not None and one.usd_per_hour is not None
    assert told.usd_per_hour == 2 * one.usd_per_hour and "cheapest list price" in told.price_source
    aws = hardware(Named(model="llama-3.1-8b", gpu="L40S", offer="aws"), None)
    assert aws.usd_per_hour is not None and aws.usd_per_hour > one.usd_per_hour and "aws" in aws.price_source
    with pytest.raises(Misnamed) as found:
        hardware(Named(model="llama-3.1-8b", gpu="L40S", offer="nobody"), None)
    assert "aws/" in found.value.hint


@pytest.mark.parametrize(("model", "gpu", "near"), [("lama-3.1-8b", "L40S", "llama-3.1-8b"), ("llama-3.1-8b", "H1000", "H100-80GB")])
def test_unknown_names_have_a_nearest(model: str, gpu: str, near: str) -> None:
    with pytest.raises(Misnamed, match=near):
        hardware(Named(model=model, gpu=gpu), None)


def test_a_fleet_of_the_config_names_its_gpu_price_and_model() -> None:
    settings = parse(FLEETS, {})
    assert fleet_named("own", settings, 10**18) == ("L40S", 3, "meta-llama/Llama-3.1-8B-Instruct", Fraction(79, 100))
    with pytest.raises(Misnamed, match="slice of a GPU"):
        fleet_named("slice", settings, 10**18)
    with pytest.raises(Misnamed) as found:
        fleet_named("owm", settings, 10**18)
    assert "own" in found.value.hint
