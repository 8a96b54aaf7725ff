"""Commitments under falling prices, and what a fall of prices means by the month and by the year.

Prices fall by the same share each year, continuously; the mean over T years is (1 - r) / (-ln r) of today's with r = (1 - fall)^T.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import Calculator, Inputs, Quantity, ratio, rounded, share

MONTHS = 12
PRECISION = 40
NEVER = "never, even if all of it is used"
NOTHING = "next to nothing is left"


class CommitmentInputs(Inputs, frozen=True, kw_only=True):
    """A discount for a term, against list prices that may fall."""

    discount: Annotated[Fraction, share("discount on today's price", "an `up to` of SageMaker plans", below=1)] = Fraction("0.64")
    years: Annotated[Fraction, Quantity("term", "years", above=0, most=10)] = Fraction(1)
    fall: Annotated[Fraction, share("fall of list prices a year", "none: what a plan tacitly assumes", below=1)] = Fraction(0)
    use: Annotated[Fraction, share("part of the committed hours that is used")] = Fraction(1)
    month_usd: Annotated[Fraction, Quantity("committed hours at list price", "USD/month", source="an example")] = Fraction(10_000)


class Commitment(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it pays."""

    flat_use: Annotated[Fraction, Quantity("pays above a use of, at flat prices", "share")]
    mean_price: Annotated[Fraction, Quantity("mean list price of the term over today's", "x")]
    least_use: Annotated[Fraction | None, Quantity("pays above a use of, as prices fall", "share", otherwise=NEVER)]
    least_discount: Annotated[Fraction, Quantity("pays above a discount of, at the use given", "share")]
    committed_usd: Annotated[Fraction, Quantity("the commitment, whole term", "USD")]
    list_usd: Annotated[Fraction, Quantity("the same use at list prices", "USD")]
    saved_usd: Annotated[Fraction, Quantity("saved; below 0 it loses", "USD")]


def commitment(of: CommitmentInputs) -> Commitment:
    """Committed cost is due at any use; list cost only for what is used, at the price of its day."""
    mean = mean_price(of.fall, of.years)
    least = (1 - of.discount) / mean
    committed = of.month_usd * MONTHS * of.years * (1 - of.discount)
    listed = of.month_usd * MONTHS * of.years * of.use * mean
    return Commitment(
        flat_use=1 - of.discount,
        mean_price=mean,
        least_use=least if least < 1 else None,
        least_discount=1 - of.use * mean,
        committed_usd=committed,
        list_usd=listed,
        saved_usd=listed - committed,
    )


def mean_price(fall: Fraction, years: Fraction) -> Fraction:
    """Mean of a price that falls by `fall` a year, over its first value."""
    with localcontext() as context:
        context.prec = PRECISION
        return _mean(_decimal(1 - fall).ln() * _decimal(years))


class FallInputs(Inputs, frozen=True, kw_only=True):
    """A price that fell, or a cost that falls."""

    fall: Annotated[Fraction, share("fall in all", "rent of an H100, often printed: 64-75 % in 14 months", below=1)] = Fraction("0.64")
    months: Annotated[Fraction, Quantity("in", "months", least=1, most=1200)] = Fraction(14)
    price_usd: Annotated[Fraction, Quantity("price at its end", "USD", source="the same")] = Fraction("2.85")
    years: Annotated[Fraction, Quantity("years to look ahead", "years", above=0, most=10)] = Fraction(3)


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """The same fall in other words."""

    start_usd: Annotated[Fraction, Quantity("price at its start", "USD")]
    monthly: Annotated[Fraction, Quantity("fall a month", "share")]
    yearly: Annotated[Fraction, Quantity("fall a year", "share")]
    yearly_factor: Annotated[Fraction | None, Quantity("cheaper after each year", "x", otherwise=NOTHING)]
    left: Annotated[Fraction, Quantity("what is left after the years ahead, if it goes on", "x")]
    dearer: Annotated[Fraction | None, Quantity("today's price over the price then", "x", otherwise=NOTHING)]
    mean: Annotated[Fraction, Quantity("mean price of those years over today's", "x")]


def price_fall(of: FallInputs) -> Fall:
    """Roots and powers of what is left."""
    with localcontext() as context:
        context.prec = PRECISION
        a_month = _decimal(1 - of.fall).ln() / _decimal(of.months)
        month, year, ahead = a_month.exp(), (a_month * MONTHS).exp(), (a_month * MONTHS * _decimal(of.years)).exp()
        return Fall(
            start_usd=of.price_usd / (1 - of.fall),
            monthly=rounded(1 - month),
            yearly=rounded(1 - year),
            yearly_factor=ratio(1, rounded(year)),
            left=rounded(ahead),
            dearer=ratio(1, rounded(ahead)),
            mean=_mean(a_month * MONTHS * _decimal(of.years)),
        )


def _mean(left: Decimal) -> Fraction:
    """Of a price over its first value, where its logarithm falls evenly to `left`."""
    return rounded((1 - left.exp()) / -left) if left else Fraction(1)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / value.denominator


CALCULATORS = (
    Calculator(
        name="commitment",
        words="from which use and discount a commitment pays, also while prices fall",
        inputs=CommitmentInputs,
        compute=commitment,
        formula=("pays while use x mean list price > 1 - discount", "mean list price = (1 - r) / -ln r, r = (1 - fall)^years"),
        notes=(
            "`Up to 64, 62, 57 %` are printed for the three large clouds: the longest term, paid upfront. Not a plan price.",
            "A falling market can eat a long term: at 30 % a year three years need 38.6 % off only to break even, fully used.",
        ),
    ),
    Calculator(
        name="price-fall",
        words="a fall of prices by month and year, and what it means some years ahead",
        inputs=FallInputs,
        compute=price_fall,
        formula=("left a month = (1 - fall)^(1 / months)",),
        notes=("Rents of neoclouds fell like that; lists of large clouds did not. A past fall is no forecast.",),
    ),
)
