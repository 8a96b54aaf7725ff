"""Money there and back without a loss, and quantities as people write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.units import Duration, Rate, Size, UnitError, format_usd, nano_from_usd, split, usd


@given(st.integers(-(10**18), 10**18))
def test_money_comes_back_exactly(nano: int) -> None:
    text = format_usd(nano)
    assert text is not None
    assert nano_from_usd(text) == nano
    assert Decimal(text) == usd(nano)


def test_unknown_money_stays_unknown() -> None:
    assert format_usd(None) is None


@pytest.mark.parametrize("text", ["0.0000000001", "much", "NaN", "Infinity", ""])
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        nano_from_usd(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("2s", 2), ("5m", 300), ("24h", 86_400), ("1.5 h", 5400), ("30d", 2_592_000)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("10 MB", 10_000_000), ("64MiB", 67_108_864), ("4096 B", 4096), ("1.5 kB", 1500)])
def test_sizes(text: str, size: int) -> None:
    assert Size.parse(text) == size


def test_a_rate_keeps_its_digits_and_its_unit() -> None:
    rate = Rate.parse("0.79 USD/gpu-hour")
    assert (rate.usd, rate.per) == (Decimal("0.79"), "gpu-hour")


@pytest.mark.parametrize(
    ("kind", "text"), [(Duration, "2 weeks"), (Duration, "-1s"), (Size, "10 pages"), (Rate, "5 EUR/hour"), (Rate, "cheap")]
)
def test_what_has_no_known_unit_is_refused_with_an_example(kind: type[Duration | Size | Rate], text: str) -> None:
    with pytest.raises(UnitError, match=r"such as|write it like"):
        kind.parse(text)


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), max_size=12))
def test_a_split_loses_nothing_and_is_fair_to_one_unit(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    if amount and not total:
        with pytest.raises(ValueError, match="not all zero"):
            split(amount, weights)
        return
    parts = split(amount, weights)
    assert sum(parts) == amount
    assert all(abs(part * total - amount * weight) < total for part, weight in zip(parts, weights, strict=True) if total)


def test_remainders_go_to_the_largest_and_ties_to_the_first() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(10, [1, 2, 4]) == [1, 3, 6]
    assert split(0, []) == []
    with pytest.raises(ValueError, match="non-negative"):
        split(1, [2, -1])
