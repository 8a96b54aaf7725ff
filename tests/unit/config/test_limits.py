"""Limits and targets are read exactly as people write them."""

from decimal import Decimal

import pytest

from penstock.config.limits import Limit, law_of, parse_limit, parse_target
from penstock.config.spending import Budget
from penstock.domain.budgets.limits import Law
from penstock.domain.units import UnitError


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("2500 USD / month", Limit(Decimal(2500), "USD", "month", None)),
        ("0.10USD/hour", Limit(Decimal("0.10"), "USD", "hour", None)),
        ("400 gpu-hours / month", Limit(Decimal(400), "gpu-hours", "month", None)),
        ("1 gpu-hour / day", Limit(Decimal(1), "gpu-hours", "day", None)),
        ("50 USD / rolling 24h", Limit(Decimal(50), "USD", None, 86400.0)),
    ],
)
def test_limits(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    "text", ["", "2500", "2500 USD", "-1 USD / day", "0 USD / day", "1 EUR / day", "1 USD / year", "1 USD / rolling 0s", "1e3 USD / day"]
)
def test_no_limits(text: str) -> None:
    with pytest.raises(UnitError):
        parse_limit(text)


def test_targets() -> None:
    assert parse_target("<= 0.0040 USD") == Decimal("0.0040")
    for text in ("0.004 USD", "< 0.004 USD", "<= USD", "<= 1 EUR"):
        with pytest.raises(UnitError):
            parse_target(text)


@pytest.mark.parametrize(
    ("limit", "zone", "law"),
    [
        ("2500 USD / month", None, Law("USD", 2500 * 10**9, "month", None, "Europe/Prague")),
        ("0.5 gpu-hours / day", "UTC", Law("gpu-hours", 1_800_000_000, "day", None, "UTC")),
        ("1 USD / rolling 90m", None, Law("USD", 10**9, None, 5_400 * 10**9, "Europe/Prague")),
    ],
)
def test_a_budgets_law_is_in_whole_units_and_its_own_zone(limit: str, zone: str | None, law: Law) -> None:
    assert law_of(Budget(name="b", limit=limit, timezone=zone), "Europe/Prague") == law
