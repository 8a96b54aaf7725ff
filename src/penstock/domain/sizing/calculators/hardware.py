"""What an hour of hardware really costs: by its productive part, by the slice, behind a managed endpoint."""

from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import MONTH_DAYS, CalculationError, Calculator, Inputs, Quantity, ratio, share

HOURS = MONTH_DAYS * 24
EXAMPLE = "an example; lists of 2026 go from 2 to 12 for an H100"


class EffectiveInputs(Inputs, frozen=True, kw_only=True):
    """A rent, and what becomes of the hours."""

    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", source=EXAMPLE)] = Fraction("3.50")
    gpu_hours: Annotated[Fraction, Quantity("hours rented", "GPU-hours", source="one GPU for 30 days")] = Fraction(HOURS)
    idle: Annotated[Fraction, share("idle part of the hours", "15-30 % use is often printed")] = Fraction("0.70")
    failed: Annotated[Fraction, share("part lost to failed and repeated runs")] = Fraction(0)
    overhead: Annotated[Fraction, share("part lost to loading, warm-up, checkpoints")] = Fraction(0)


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """The price of an hour that did something."""

    productive: Annotated[Fraction, Quantity("productive part", "share")]
    effective_usd: Annotated[Fraction | None, Quantity("a productive GPU-hour", "USD", otherwise="nothing was productive")]
    multiplier: Annotated[Fraction | None, Quantity("over the rent", "x", otherwise="nothing was productive")]
    spend_usd: Annotated[Fraction, Quantity("spend", "USD")]
    wasted_usd: Annotated[Fraction, Quantity("of it for nothing", "USD")]


def effective_gpu_hour(of: EffectiveInputs) -> Effective:
    """Spend over productive hours."""
    productive = 1 - of.idle - of.failed - of.overhead
    if productive < 0:
        raise CalculationError("idle, failed and overhead are more than all hours", "they are shares of the same hours: at most 1 together")
    spend = of.gpu_hour_usd * of.gpu_hours
    return Effective(
        productive=productive,
        effective_usd=ratio(of.gpu_hour_usd, productive),
        multiplier=ratio(1, productive),
        spend_usd=spend,
        wasted_usd=spend * (1 - productive),
    )


class MigInputs(Inputs, frozen=True, kw_only=True):
    """A card cut into equal slices, one model on each."""

    gpu_hour_usd: Annotated[Fraction, Quantity("rent of the whole card", "USD/GPU-hour", source=EXAMPLE)] = Fraction("3.50")
    models: Annotated[int, Quantity("slices, each with a model", above=0, most=7)] = 7
    compute: Annotated[int, Quantity("compute slices of each, as the 2 of `2g.20gb`", above=0, most=7)] = 1
    memory: Annotated[int, Quantity("memory slices of each", above=0, most=8)] = 1
    card_compute: Annotated[int, Quantity("compute slices of the card", above=0, most=7, source="H100, A100")] = 7
    card_memory: Annotated[int, Quantity("memory slices of the card", above=0, most=8, source="H100, A100")] = 8
    multiprocessors: Annotated[int, Quantity("SMs of the whole card", above=0, source="H100 SXM; A100: 108")] = 132
    slice_multiprocessors: Annotated[int, Quantity("SMs of a compute slice", above=0, source="H100 SXM; A100: 14")] = 16
    memory_gb: Annotated[Fraction, Quantity("memory of the card", "GB", above=0)] = Fraction(80)


class MigShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a slice costs and is."""

    model_usd: Annotated[Fraction, Quantity("a model's hour", "USD")]
    nominal_saving: Annotated[Fraction, Quantity("less than a card of its own", "share")]
    compute_share: Annotated[Fraction, Quantity("of the card's SMs that a model has", "share")]
    memory_gb: Annotated[Fraction, Quantity("memory of a model: weights and KV cache", "GB")]
    lost_compute: Annotated[Fraction, Quantity("SMs that nobody has", "share")]
    lost_memory: Annotated[Fraction, Quantity("memory that nobody has", "share")]
    compute_price: Annotated[Fraction, Quantity("price of an SM-hour over that of the whole card", "x")]


def mig_share(of: MigInputs) -> MigShare:
    """The card's rent over its models, and what cutting loses."""
    if of.models * of.compute > of.card_compute or of.models * of.memory > of.card_memory:
        most = min(of.card_compute // of.compute, of.card_memory // of.memory)
        raise CalculationError(
            f"{of.models} slices of {of.compute} compute and {of.memory} memory do not fit",
            f"at most {most} fit the card" if most else "not one of them fits the card",
        )
    used = Fraction(of.models * of.compute * of.slice_multiprocessors, of.multiprocessors)
    if used > 1:
        raise CalculationError("the slices have more SMs than the card", "give those of the card and of a slice of the same card")
    memory = Fraction(of.memory, of.card_memory)
    return MigShare(
        model_usd=of.gpu_hour_usd / of.models,
        nominal_saving=1 - Fraction(1, of.models),
        compute_share=used / of.models,
        memory_gb=memory * of.memory_gb,
        lost_compute=1 - used,
        lost_memory=1 - memory * of.models,
        compute_price=1 / used,
    )


class ManagedInputs(Inputs, frozen=True, kw_only=True):
    """A managed endpoint asks a premium on the rent."""

    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", source=EXAMPLE)] = Fraction("3.50")
    gpus: Annotated[int, Quantity("GPUs that run", above=0)] = 1
    premium_low: Annotated[Fraction, Quantity("premium, low", "x", source="often printed: 10-20 %; ask your provider")] = Fraction("0.10")
    premium_high: Annotated[Fraction, Quantity("premium, high", "x", source="the same")] = Fraction("0.20")
    engineer_usd: Annotated[Fraction, Quantity("an hour of an engineer", "USD", above=0, source="an example")] = Fraction(100)


class Managed(msgspec.Struct, frozen=True, kw_only=True):
    """What the premium is, and what it must save."""

    rent_usd: Annotated[Fraction, Quantity("rent, a month of 30 days", "USD")]
    low_usd: Annotated[Fraction, Quantity("managed, low", "USD")]
    high_usd: Annotated[Fraction, Quantity("managed, high", "USD")]
    low_hours: Annotated[Fraction, Quantity("engineer's hours a month that pay the low premium", "hours")]
    high_hours: Annotated[Fraction, Quantity("and the high one", "hours")]


def managed_premium(of: ManagedInputs) -> Managed:
    """Rent times one and the premium."""
    if of.premium_high < of.premium_low:
        raise CalculationError("premium_high is below premium_low", "give the lower one as premium_low")
    rent = of.gpu_hour_usd * of.gpus * HOURS
    return Managed(
        rent_usd=rent,
        low_usd=rent * (1 + of.premium_low),
        high_usd=rent * (1 + of.premium_high),
        low_hours=rent * of.premium_low / of.engineer_usd,
        high_hours=rent * of.premium_high / of.engineer_usd,
    )


CALCULATORS = (
    Calculator(
        name="effective-gpu-hour",
        words="what a productive GPU-hour costs, and what idle hours waste",
        inputs=EffectiveInputs,
        compute=effective_gpu_hour,
        formula=("effective = gpu_hour_usd / (1 - idle - failed - overhead)",),
        notes=("Productive is the engine's active time (DCGM_FI_PROF_GR_ENGINE_ACTIVE), not DCGM_FI_DEV_GPU_UTIL.",),
    ),
    Calculator(
        name="mig-share",
        words="what a model on a MIG slice costs, and what cutting a card loses",
        inputs=MigInputs,
        compute=mig_share,
        formula=("saving = 1 - 1 / models", "price of an SM-hour = multiprocessors / SMs of all slices"),
        notes=("Not free of overhead: each slice holds weights and KV cache of its own. Which slices hold a model: `penstock size`.",),
    ),
    Calculator(
        name="managed-premium",
        words="what a managed endpoint adds to the rent, and what it must save",
        inputs=ManagedInputs,
        compute=managed_premium,
        formula=("managed = rent x (1 + premium)",),
        notes=(),
    ),
)
