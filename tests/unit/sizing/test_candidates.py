"""Candidates, their order and price, what would make a model fit, and the ranking under a load."""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction

import msgspec
import pytest

from penstock.adapters.feeds.catalogue import accelerators, architectures, mig_slices
from penstock.adapters.feeds.gpus import GpuOffer
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.candidates import Candidate, Demand, candidates
from penstock.domain.sizing.costs import per_million, per_request
from penstock.domain.sizing.formats import find_format
from penstock.domain.sizing.latency.deployment import Deployment, Prediction, Workload
from penstock.domain.sizing.ranking import best_of_each, ranked, verdict
from penstock.domain.sizing.remedies import Question, remedies

DEMAND = Demand(context=8192, requests=4)
Asked = Sequence[tuple[Deployment, Workload]]
LOAD = Workload(input_tokens=1000, output_tokens=101, concurrency=10)


def offer(gpu: str, gpus: int, usd: str, kind: str = "on-demand") -> GpuOffer:
    return msgspec.convert(
        {
            "provider": "cloud", "instance": f"{gpus}x{gpu}", "gpu": gpu, "gpus": gpus, "usd_per_hour": usd, "region": "any", "kind": kind,
            "date": date(2026, 11, 1), "source": "test",
        },
        GpuOffer,
    )  # fmt: skip


OFFERS = (offer("H100-80GB", 1, "2"), offer("H100-80GB", 8, "32"), offer("H100-80GB", 8, "8", "spot"), offer("A100-80GB", 4, "6"))


def found(
    model: str, formats: tuple[str, ...], gpus: tuple[str, ...], demand: Demand = DEMAND, every: bool = False, sliced: bool = False
) -> list[Candidate]:
    devices = [find(each, accelerators()) for each in gpus]
    return candidates(
        architectures()[model], list(map(find_format, formats)), devices, mig_slices() if sliced else {}, OFFERS, demand, every
    )  # fmt: skip


def question(model: str, formats: tuple[str, ...], gpus: tuple[str, ...], demand: Demand = DEMAND) -> Question:
    architecture = architectures()[model]
    return Question(
        architecture=architecture, formats=tuple(map(find_format, formats)), devices=tuple(find(each, accelerators()) for each in gpus),
        known=accelerators(), slices=mig_slices(), offers=OFFERS, demand=demand,
        family=tuple(each for each in architectures().values() if each.family == architecture.family),
    )  # fmt: skip


def test_as_few_devices_as_hold_it() -> None:
    (row,) = found("llama-3.1-70b", ("fp8",), ("H100",))
    assert row.fit is not None
    assert (row.fit.tensor_parallel, row.kernels, row.holds) == (2, "native", True)


def test_a_replica_is_priced_by_the_cheapest_machine_that_has_its_devices() -> None:
    (one,) = found("llama-3.1-8b", ("bf16",), ("H100",))
    assert one.usd_per_hour == 2
    (two,) = found("llama-3.1-70b", ("fp8",), ("H100",))
    assert two.usd_per_hour == 8, "two of the eight at 4 each: neither the single machine nor spot"
    assert (one.is_part, two.is_part) == (False, True)
    (eight,) = found("llama-3.1-405b", ("fp8",), ("A100-80GB",))
    assert (eight.holds, eight.usd_per_hour) == (True, None), "no machine with eight is known"


def test_a_slice_is_priced_by_its_part_of_the_card() -> None:
    slices = [each for each in found("llama-3.1-8b", ("bf16",), ("H100",), sliced=True) if each.slice is not None]
    assert [each.slice.name for each in slices if each.slice] == ["3g.40gb"]
    assert slices[0].usd_per_hour == 1, "half of the memory, though three of seven parts of the compute"


def test_the_cheapest_comes_first_and_the_unknown_after_it() -> None:
    rows = found("llama-3.1-8b", ("bf16",), ("H200", "H100", "A100-80GB"))
    assert [each.accelerator.name for each in rows] == ["A100-80GB", "H100-80GB", "H200-141GB"]


def test_every_way_is_listed_on_request() -> None:
    rows = found("llama-3.1-70b", ("int4",), ("A100-40GB",), every=True, sliced=True)
    assert sorted((each.fit.tensor_parallel, each.holds) for each in rows if each.fit and each.slice is None) == [
        (1, False), (2, True), (4, True), (8, True),
    ]  # fmt: skip
    assert {each.slice.name for each in rows if each.slice} == {"1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb"}


def test_formats_without_kernels_say_so() -> None:
    (row,) = found("llama-3.1-8b", ("bf16",), ("T4",))
    assert (row.fit, row.kernels, row.holds) == (None, "none", False)
    assert row.why is not None
    assert "use fp16" in row.why
    (dense,) = found("llama-3.1-8b", ("mxfp4",), ("H100",))
    assert dense.why == "mxfp4 quantises experts only, and llama-3.1-8b has none"


def test_remedies_for_4_bits_on_40_gb() -> None:
    said = remedies(question("llama-3.1-70b", ("int4",), ("A100-40GB",), Demand(context=8192, requests=4, tp=1)))
    assert said == [
        "more GPUs: int4 on 2 x A100-40GB",
        "other hardware: int4 on 1 x A100-80GB",
        "a smaller model of the family: llama-3.1-8b, int4 on a 3g.20gb slice of A100-40GB",
    ]


def test_what_cannot_be_divided_is_not_remedied_by_less() -> None:
    said = remedies(question("llama-3.1-8b", ("bf16",), ("H100",), Demand(context=8192, requests=4, tp=3)))
    assert said[0].startswith("another number of GPUs: bf16 on "), "neither less context nor fewer requests"
    assert not any("tokens instead of" in each or "at once instead of" in each for each in said)
    (row,) = found("llama-3.1-8b", ("bf16",), ("H100",), Demand(context=8192, requests=4, tp=3))
    assert row.fit is not None
    assert (row.fit.kv_tokens, row.why) == (0, "32 attention heads are not divisible by 3")


def test_remedies_for_too_many_long_requests() -> None:
    said = remedies(question("llama-3.1-70b", ("fp8",), ("H100",), Demand(context=100_000, requests=64)))
    assert said[0].startswith("a context of ")
    assert said[0].endswith(" tokens instead of 100,000, 64 at once")
    assert "requests at once instead of 64" in said[1]


def test_remedies_for_a_model_larger_than_any_machine() -> None:
    said = remedies(question("kimi-k2", ("bf16",), ("L4",)))
    assert "pipeline parallelism: bf16 on 14 machines of 8 L4-24GB, at least" in said
    assert any(each.startswith("other hardware: bf16 on 8 x ") for each in said)


def test_remedies_name_an_fp8_cache_where_that_is_enough() -> None:
    demand = Demand(context=8192, requests=20)
    assert not found("llama-3.1-70b", ("int4",), ("H100",), msgspec.structs.replace(demand, tp=1))[0].holds
    said = remedies(question("llama-3.1-70b", ("int4",), ("H100",), msgspec.structs.replace(demand, tp=1)))
    assert "a KV cache in fp8 (`--kv fp8`): int4 on 1 x H100-80GB" in said


@pytest.mark.parametrize("text", remedies(question("llama-3.1-405b", ("bf16",), ("L40S",), Demand(context=8192, requests=4, tp=8))))
def test_remedies_are_sentences_of_what_holds(text: str) -> None:
    assert text.startswith(("fewer bits: ", "other hardware: ", "pipeline parallelism: ", "a smaller model of the family: llama-3.1-70b"))


def predicted(ttft: float, tpot: float) -> Prediction:
    return Prediction(
        ttft_ms=ttft, ttft_low_ms=ttft / 2, ttft_high_ms=2 * ttft, tpot_ms=tpot, tpot_low_ms=tpot / 2, tpot_high_ms=2 * tpot
    )  # fmt: skip


def test_an_objective_is_kept_likely_kept_or_missed() -> None:
    fast = predicted(500, 20)
    assert verdict(fast, LOAD, {}) is None
    assert verdict(fast, LOAD, {"ttft": 1.0, "tpot": 0.04}) == "yes"
    assert verdict(fast, LOAD, {"ttft": 0.6}) == "likely"
    assert verdict(fast, LOAD, {"ttft": 1.0, "tpot": 0.01}) == "no"
    assert verdict(fast, LOAD, {"e2e": 5.0}) == "yes"


def test_ranking_puts_what_keeps_the_objective_first_then_the_cheapest() -> None:
    rows = found("llama-3.1-8b", ("bf16",), ("H100", "A100-80GB", "H200"))

    def predict(asked: Asked) -> list[Prediction]:
        assert {(deployment.engine, workload) for deployment, workload in asked} == {("vllm", LOAD)}
        tpot = {"A100-80GB": 50.0, "H100-80GB": 20.0, "H200-141GB": 10.0}
        return [predicted(100, tpot[deployment.accelerator.name]) for deployment, _ in asked]

    model = architectures()["llama-3.1-8b"]
    free = [row.candidate.accelerator.name for row in ranked(rows, model, LOAD, "vllm", 16, {}, predict)]
    assert free == ["H100-80GB", "A100-80GB", "H200-141GB"]
    strict = ranked(rows, model, LOAD, "vllm", 16, {"tpot": 0.03}, predict)
    assert [(row.candidate.accelerator.name, row.verdict) for row in strict] == [
        ("H100-80GB", "likely"), ("H200-141GB", "yes"), ("A100-80GB", "no"),
    ]  # fmt: skip
    first = strict[0]
    assert first.usd_per_million_output == per_million(per_request(Fraction(2), 60_000 * 10 / 2100), 101)
    unpredicted = ranked(rows, model, LOAD, "vllm", 16, {}, None)
    assert [row.candidate.accelerator.name for row in unpredicted] == ["A100-80GB", "H100-80GB", "H200-141GB"]
    assert all(row.prediction is None and row.usd_per_million_output is None for row in unpredicted)


def test_more_devices_are_taken_where_the_objective_needs_them() -> None:
    rows = [each for each in found("llama-3.1-8b", ("bf16",), ("H100",), every=True) if each.holds]

    def predict(asked: Asked) -> list[Prediction]:
        return [predicted(100, 20 / deployment.tensor_parallel) for deployment, _ in asked]

    model = architectures()["llama-3.1-8b"]
    (best,) = best_of_each(ranked(rows, model, LOAD, "vllm", 16, {"tpot": 0.025}, predict))
    assert best.candidate.fit is not None
    assert (best.candidate.fit.tensor_parallel, best.verdict) == (1, "likely")
    (best,) = best_of_each(ranked(rows, model, LOAD, "vllm", 16, {"tpot": 0.012}, predict))
    assert best.candidate.fit is not None
    assert (best.candidate.fit.tensor_parallel, best.verdict) == (2, "likely")
    assert best.output_tokens_per_s == pytest.approx(10 * 101 / 1.1)


def test_offers_are_found_by_the_names_that_clouds_use() -> None:
    (row,) = candidates(
        architectures()["llama-3.1-8b"], [find_format("bf16")], [find("H200", accelerators())], {}, [offer("H200-SXM", 8, "40")], DEMAND
    )  # fmt: skip
    assert row.usd_per_hour == 5


def test_a_slice_is_predicted_as_a_smaller_device() -> None:
    rows = [each for each in found("llama-3.1-8b", ("bf16",), ("H100",), sliced=True) if each.slice]
    seen: list[Deployment] = []

    def predict(asked: Asked) -> list[Prediction]:
        seen.extend(deployment for deployment, _ in asked)
        return [predicted(100, 20) for _ in asked]

    ranked(rows, architectures()["llama-3.1-8b"], LOAD, "vllm", 16, {}, predict)
    assert seen[0].accelerator.multiprocessors == 48
