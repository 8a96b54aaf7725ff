"""Comparisons that reports are full of: before against after, cost share against value share, training against inference, batch
against real time."""

from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import MONTH_DAYS, Calculator, Inputs, Quantity, ratio, share


class SavingInputs(Inputs, frozen=True, kw_only=True):
    """Two costs of the same work."""

    before: Annotated[Fraction, Quantity("before, in any unit", above=0, source="a curve's last tier, as printed")] = Fraction(67_000)
    after: Annotated[Fraction, Quantity("after, in the same unit", source="the goal printed with it")] = Fraction(15_000)


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """How they compare."""

    difference: Annotated[Fraction, Quantity("less; below 0 it is more")]
    saved: Annotated[Fraction, Quantity("saved", "share")]
    times: Annotated[Fraction | None, Quantity("before over after", "x", otherwise="afterwards it costs nothing")]


def saving(of: SavingInputs) -> Saving:
    """`n` times cheaper is 1 - 1/n saved."""
    return Saving(difference=of.before - of.after, saved=1 - of.after / of.before, times=ratio(of.before, of.after))


class RightSizingInputs(Inputs, frozen=True, kw_only=True):
    """A feature's part of the cost and of what users get."""

    cost_share: Annotated[Fraction, share("of token cost", "an often printed case")] = Fraction("0.40")
    value_share: Annotated[Fraction, share("of user value", "the same case")] = Fraction("0.05")
    limit: Annotated[Fraction, Quantity("flagged from a ratio of", "x", above=0, source="the same case")] = Fraction(8)


class RightSizing(msgspec.Struct, frozen=True, kw_only=True):
    """The flag and its reason."""

    times: Annotated[Fraction | None, Quantity("cost share over value share", "x", otherwise="cost without value")]
    flagged: Annotated[str, Quantity("look at it")]


def right_sizing(of: RightSizingInputs) -> RightSizing:
    """Flagged when it costs `limit` times what it is worth, or is worth nothing and costs something."""
    times = ratio(of.cost_share, of.value_share)
    flagged = of.cost_share > 0 if times is None else times >= of.limit
    return RightSizing(times=times, flagged="yes" if flagged else "no")


class LifetimeInputs(Inputs, frozen=True, kw_only=True):
    """A model is trained once and answers for years."""

    training_usd: Annotated[Fraction, Quantity("training", "USD", above=0, source="an example")] = Fraction(10**9)
    times: Annotated[Fraction, Quantity("lifetime inference over training", "x", above=0, source="printed: 15 to 20")] = Fraction(15)
    saved: Annotated[Fraction, share("part of inference that is saved", "an example")] = Fraction("0.10")


class Lifetime(msgspec.Struct, frozen=True, kw_only=True):
    """Where a percent is worth most."""

    inference_usd: Annotated[Fraction, Quantity("inference over the lifetime", "USD")]
    inference_share: Annotated[Fraction, Quantity("of the lifetime's cost", "share")]
    saved_usd: Annotated[Fraction, Quantity("saved", "USD")]
    trainings: Annotated[Fraction, Quantity("that is, times the training", "x")]


def lifetime(of: LifetimeInputs) -> Lifetime:
    """Inference is training times a factor."""
    inference = of.training_usd * of.times
    return Lifetime(
        inference_usd=inference,
        inference_share=of.times / (1 + of.times),
        saved_usd=inference * of.saved,
        trainings=of.times * of.saved,
    )


class BatchInputs(Inputs, frozen=True, kw_only=True):
    """The same work at once whenever it comes, or together once a day."""

    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", source="an example")] = Fraction("3.50")
    gpus: Annotated[int, Quantity("GPUs", above=0)] = 1
    realtime_hours: Annotated[Fraction, Quantity("hours a day that GPUs wait for requests", "hours", above=0, most=24)] = Fraction(24)
    batch_hours: Annotated[Fraction, Quantity("hours a day that the work takes at once", "hours", above=0, most=24, source="printed")] = (
        Fraction(2)
    )
    start_hours: Annotated[Fraction, Quantity("hours a day to start and load", "hours", most=24)] = Fraction(0)
    discount: Annotated[Fraction, share("batch runs cheaper by: spot, off-peak", "none")] = Fraction(0)
    days: Annotated[int, Quantity("days of the month", "days", above=0, most=366)] = MONTH_DAYS


class BatchSaving(msgspec.Struct, frozen=True, kw_only=True):
    """Both bills."""

    realtime_usd: Annotated[Fraction, Quantity("real time, a month", "USD")]
    batch_usd: Annotated[Fraction, Quantity("batch, a month", "USD")]
    idle: Annotated[Fraction, Quantity("idle part of real time", "share")]
    times: Annotated[Fraction | None, Quantity("cheaper", "x", otherwise="batch costs nothing")]
    saved: Annotated[Fraction, Quantity("saved; below 0 it costs more", "share")]


def batch_saving(of: BatchInputs) -> BatchSaving:
    """Hours over hours, and the discount."""
    hour = of.gpu_hour_usd * of.gpus * of.days
    realtime, batch = hour * of.realtime_hours, hour * (of.batch_hours + of.start_hours) * (1 - of.discount)
    times = of.realtime_hours / ((of.batch_hours + of.start_hours) * (1 - of.discount)) if of.discount < 1 else None
    return BatchSaving(
        realtime_usd=realtime,
        batch_usd=batch,
        idle=max(Fraction(0), 1 - of.batch_hours / of.realtime_hours),
        times=times,
        saved=1 - 1 / times if times is not None else Fraction(1),
    )


CALCULATORS = (
    Calculator(
        name="saving",
        words="before against after: share saved and factor",
        inputs=SavingInputs,
        compute=saving,
        formula=("saved = 1 - after / before; factor = before / after",),
        notes=("Both must be the same work at the same quality and latency.",),
    ),
    Calculator(
        name="right-sizing",
        words="flag a feature that costs more than it is worth",
        inputs=RightSizingInputs,
        compute=right_sizing,
        formula=("flag = cost_share / value_share >= limit",),
        notes=("Of your own features, with the smallest tier that keeps each error budget: `penstock route sizes`.",),
    ),
    Calculator(
        name="lifetime",
        words="training against inference over a model's life",
        inputs=LifetimeInputs,
        compute=lifetime,
        formula=("share of inference = times / (1 + times)",),
        notes=("The factor is a vendor's or an author's word: put in your own bills (`penstock record`).",),
    ),
    Calculator(
        name="batch-or-realtime",
        words="the same work in real time against once a day",
        inputs=BatchInputs,
        compute=batch_saving,
        formula=("factor = realtime_hours / ((batch_hours + start_hours) x (1 - discount))",),
        notes=(
            "Printed elsewhere at the defaults: 10x. It is 12x. Batch APIs ask half the price, and most jobs end within an hour.",
            "An offline queue is not a batching window: vLLM batches continuously and has none; windows of 5-50 ms are of Triton.",
        ),
    ),
)
