"""The cost curve of a product: prototype, staging, production, scale. A product of factors, tier by tier."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, TypeVar

import msgspec

from penstock.domain.sizing.calculators.calculator import MONTH_DAYS, CalculationError, Calculator, Inputs, Quantity, ratio

NAMES = ("prototype", "staging", "production", "scale")
PRINTED = "an often printed curve"
Value = TypeVar("Value")


class CurveInputs(Inputs, frozen=True, kw_only=True):
    """Lists of one value for each tier; a list of one value holds for all."""

    tiers: Annotated[tuple[str, ...], Quantity("names", source=PRINTED)] = NAMES
    gpus: Annotated[tuple[int, ...], Quantity("GPUs in a region", "GPUs", source=PRINTED)] = (1, 4, 8, 32)
    gpu_hour_usd: Annotated[tuple[Fraction, ...], Quantity("rent of a GPU", "USD/GPU-hour", source=PRINTED)] = (Fraction("3.50"),)
    hours_per_day: Annotated[tuple[Fraction, ...], Quantity("hours a day", "hours", most=24, source=PRINTED)] = (
        Fraction(2),
        Fraction(24),
        Fraction(24),
        Fraction(24),
    )
    discount: Annotated[tuple[Fraction, ...], Quantity("discount, such as of spot", "share", most=1, source=PRINTED)] = (
        Fraction(0),
        Fraction("0.4"),
        Fraction(0),
        Fraction(0),
    )
    regions: Annotated[tuple[int, ...], Quantity("regions that hold it", above=0, most=100, source=PRINTED)] = (1, 1, 2, 1)
    burst_gpu_hours: Annotated[tuple[Fraction, ...], Quantity("further GPU-hours a month, at the rent", "GPU-hours")] = (Fraction(0),)
    other_usd: Annotated[tuple[Fraction, ...], Quantity("network, storage, training", "USD/month")] = (Fraction(0),)
    days: Annotated[int, Quantity("days of the month", "days", above=0, most=366)] = MONTH_DAYS


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the curve."""

    tier: Annotated[str, Quantity("tier")]
    gpu_hours: Annotated[Fraction, Quantity("GPU-hours", "GPU-hours")]
    list_usd: Annotated[Fraction, Quantity("before discount", "USD")]
    usd: Annotated[Fraction, Quantity("a month", "USD", bar=True)]
    jump: Annotated[Fraction | None, Quantity("times the tier before", "x", otherwise="-")]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers, and what lies between first and last."""

    rows: tuple[Tier, ...]
    last_over_first: Annotated[Fraction | None, Quantity("last tier over the first", "x", otherwise="the first costs nothing")]


def cost_curve(of: CurveInputs) -> Curve:
    """GPUs x regions x hours x rent x (1 - discount), and what comes on top."""
    count = len(of.tiers)
    columns = (of.gpus, of.gpu_hour_usd, of.hours_per_day, of.discount, of.regions, of.burst_gpu_hours, of.other_usd)
    names = ("gpus", "gpu_hour_usd", "hours_per_day", "discount", "regions", "burst_gpu_hours", "other_usd")
    full = [_spread(name, column, count) for name, column in zip(names, columns, strict=True)]
    rows: list[Tier] = []
    for name, gpus, rent, hours, discount, regions, burst, other in zip(of.tiers, *full, strict=True):
        gpu_hours = gpus * regions * hours * of.days
        usd = gpu_hours * rent * (1 - discount) + burst * rent + other
        rows.append(
            Tier(
                tier=name,
                gpu_hours=gpu_hours + burst,
                list_usd=(gpu_hours + burst) * rent + other,
                usd=usd,
                jump=ratio(usd, rows[-1].usd) if rows else None,
            )
        )
    return Curve(rows=tuple(rows), last_over_first=ratio(rows[-1].usd, rows[0].usd))


def _spread(name: str, column: Sequence[Value], count: int) -> Sequence[Value]:
    if len(column) == 1:
        return [column[0]] * count
    if len(column) != count:
        raise CalculationError(
            f"{name} has {len(column)} values for {count} tiers", f"give {count} values with commas between them, or one"
        )
    return column


CALCULATORS = (
    Calculator(
        name="cost-curve",
        words="a month's cost from prototype to scale, and the jumps between",
        inputs=CurveInputs,
        compute=cost_curve,
        formula=("usd = gpus x regions x hours_per_day x days x gpu_hour_usd x (1 - discount) + burst + other",),
        notes=(
            "Printed elsewhere with these inputs: 200, 3,200, 18,500 and 67,000. Its own formula gives 210, 6,048, 20,160 for each of "
            "two regions, and 80,640. Costs do not grow exponentially: they are a product of GPUs, hours, regions and rates.",
        ),
    ),
)
