"""The catalogue: what data sheets and config.json files say holds together, and names lead to what is meant."""

import re
from datetime import date

import pytest

from penstock.adapters.feeds.catalogue import accelerators, architectures, find_architecture, mig_slices
from penstock.adapters.feeds.gpus import gpu_offers, mig_profiles
from penstock.domain.sizing.accelerators import Accelerator, UnknownNameError, find
from penstock.domain.sizing.parameters import parameters

ENTERED = date(2026, 11, 22)
PUBLISHED_WITHIN = 0.01
ACTIVE_WITHIN = 0.21
"""makers round them, and count embeddings or not"""
FP8_FROM = {"ada", "hopper", "blackwell"}


def named(name: str) -> Accelerator:
    return find(name, accelerators())


def test_every_fact_is_dated_and_sourced() -> None:
    facts = [(each.name, each.date, each.source) for each in accelerators()]
    facts += [(each.name, each.date, each.source) for each in architectures().values()]
    for name, day, source in facts:
        assert day <= ENTERED, name
        assert len(source) > 10, name


def test_every_offer_and_every_mig_card_is_of_a_known_accelerator() -> None:
    names = {each.name for each in accelerators()}
    assert {offer.gpu for offer in gpu_offers()} - names == set()
    assert set(mig_profiles()) - names == set()


def test_no_name_means_two_accelerators() -> None:
    for each in accelerators():
        for name in (each.name, *each.also):
            assert named(name) is each, name


def test_benchmarks_names_of_systems_are_known() -> None:
    systems = {"h100_sxm": "H100-80GB", "h200_sxm": "H200-141GB", "b200_sxm": "B200-180GB", "b300_sxm": "B300-288GB",
               "gb200": "GB200-186GB", "gb300": "GB300-288GB", "a100-80gb": "A100-80GB", "MI300X": "MI300X-192GB"}  # fmt: skip
    assert {name: named(name).name for name in systems} == systems


def test_an_ambiguous_accelerator_asks_for_its_memory() -> None:
    with pytest.raises(UnknownNameError, match="A100-40GB or A100-80GB"):
        named("A100")


def test_memory_is_what_programs_get() -> None:
    for each in accelerators():
        said = re.search(r"(\d+)GB", each.name)
        if said is not None:
            gigabytes = int(said[1])
            assert 0.95 * gigabytes * 1e9 < each.memory_bytes <= 1.075 * gigabytes * 2**30, each.name


def test_arithmetic_halves_with_each_doubling_of_bits() -> None:
    for each in accelerators():
        sixteen = each.flops.get("bf16") or each.flops["fp16"]
        assert each.flops.get("fp16", sixteen) == each.flops.get("bf16", sixteen), each.name
        if "fp8" in each.flops and each.vendor != "aws":
            assert each.flops["fp8"] == pytest.approx(2 * sixteen, rel=0.02), each.name
        if each.vendor == "nvidia" and "fp4" in each.flops:
            assert each.flops["fp4"] / each.flops["fp8"] in (2, 3), each.name
        if "tf32" in each.flops:
            assert each.flops["tf32"] == pytest.approx(sixteen / 2, rel=0.02), each.name
        assert ("fp8" in each.flops) == (each.generation in FP8_FROM) or each.vendor != "nvidia", each.name


def test_flops_per_byte_and_links_are_of_this_world() -> None:
    for each in accelerators():
        sixteen = each.flops.get("bf16") or each.flops["fp16"]
        assert 70 < sixteen / each.bandwidth < 600, each.name
        if each.link_bandwidth is not None:
            assert each.link_bandwidth < each.bandwidth, each.name
        assert (each.compute_capability is not None) == (each.vendor == "nvidia"), each.name
    ids = [device for each in accelerators() for device in each.pci_ids]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"0x[0-9A-F]{4}", device) for device in ids)


def test_slices_of_mig_are_parts_of_known_cards() -> None:
    slices = mig_slices()
    assert {each.name for each in slices["H100-80GB"]} == {"1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb"}
    for name, profiles in slices.items():
        device = named(name)
        for each in profiles:
            assert each.share * each.most <= 1 + 1 / 7, f"{name} {each.name}"
            assert (
                device.mig_multiprocessors is None
                or device.multiprocessors is None
                or (device.mig_multiprocessors * each.compute_of <= device.multiprocessors)
            )


@pytest.mark.parametrize("name", architectures())
def test_architectures_weigh_what_was_published(name: str) -> None:
    model = architectures()[name]
    counts = parameters(model)
    assert counts.total == pytest.approx(model.published, rel=PUBLISHED_WITHIN)
    assert (model.experts is None) == (model.published_active is None)
    if model.published_active is not None:
        assert counts.active == pytest.approx(model.published_active, rel=ACTIVE_WITHIN)
    assert model.latent is not None or model.heads % model.kv_heads == 0
    assert model.windowed_layers + model.linear_layers <= model.layers
    assert (model.linear is None) == (model.linear_layers == 0)


def test_names_of_checkpoints_lead_to_their_architecture() -> None:
    names = {
        "MiniMaxAI/MiniMax-M2.5": "minimax-m2.5", "meta-llama/Llama-3.1-70B": "llama-3.1-70b", "Qwen/Qwen3-32B": "qwen3-32b",
        "openai/gpt-oss-120b": "gpt-oss-120b", "Qwen/Qwen3.5-397B-A17B": "qwen3.5-397b-a17b", "deepseek-ai/DeepSeek-R1": "deepseek-v3",
        "moonshotai/Kimi-K2.5": "kimi-k2.5", "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b", "zhipuai/GLM-5": "glm-5",
        "nvidia/Llama-3.1-8B-Instruct-FP8": "llama-3.1-8b", "nvidia/DeepSeek-R1-NVFP4": "deepseek-v3", "llama2-70b": "llama-2-70b",
        "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4": "llama-3.1-70b", "llama3.1-405b": "llama-3.1-405b",
        "Qwen2.5-7B-Instruct-GPTQ-Int4": "qwen2.5-7b", "bloom-176b": "bloom-176b",
    }  # fmt: skip
    assert {name: find_architecture(name).name for name in names} == names


def test_every_name_of_a_model_leads_to_it() -> None:
    for model in architectures().values():
        for name in (model.name, *model.also):
            if name not in model.contexts:
                assert find_architecture(name) is model, name


def test_a_checkpoint_with_another_context_is_the_same_model_with_that() -> None:
    for model in architectures().values():
        assert set(model.contexts) <= set(model.also), model.name
        for name, context in model.contexts.items():
            found = find_architecture(name)
            assert (found.max_context, found.layers, found.published) == (context, model.layers, model.published)
    assert find_architecture("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8").max_context == 262_144
    assert find_architecture("Qwen/Qwen3-30B-A3B").max_context == 40_960
    assert find_architecture("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B").name == "deepseek-r1-distill-qwen-32b"


def test_checkpoints_that_differ_in_more_have_entries_of_their_own() -> None:
    distilled, thinking = find_architecture("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"), find_architecture("moonshotai/Kimi-K2-Thinking")
    assert (distilled.tied, distilled.published) == (False, 1_777_000_000)
    assert (thinking.stored, thinking.max_context) == ("int4", 262_144)


def test_cards_that_mig_parted_knows_can_be_cut() -> None:
    assert {"H100-80GB-PCIe", "H200-141GB-NVL"} <= set(mig_slices())
    for each in accelerators():
        assert (each.mig_multiprocessors is None) or each.name in mig_slices(), each.name


def test_an_unknown_model_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match=r"qwen3-32b"):
        find_architecture("qwen3-33b")
