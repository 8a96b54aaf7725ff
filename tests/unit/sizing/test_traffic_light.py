"""The traffic light: which law decides, that what is late is never shrunk, and what shrinking saves."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.traffic_light import FULL, HOURS_A_MONTH, LEAST_HOURS, THIN, TIGHT, WAITING, Load, light

USED = Load(hours=100, use=0.6, use_p95=0.8, units=4, enough=4, unit_hour=Fraction(2))
SHARES = st.none() | st.floats(0, 1)


def seen(**fields: object) -> str:
    return light(msgspec.structs.replace(USED, **fields)).colour


def test_each_law_at_its_bound() -> None:
    assert seen() == "green"
    assert seen(use=THIN) == "green" and seen(use=THIN - 0.0001) == "red"
    assert seen(use_p95=TIGHT) == "green" and seen(use_p95=TIGHT + 0.0001) == "yellow"
    assert seen(waiting_share=WAITING) == "green" and seen(waiting_share=WAITING + 0.0001) == "yellow"
    assert seen(kv_use_p95=FULL) == "green" and seen(kv_use_p95=FULL + 0.0001) == "yellow"
    assert seen(first_token_p95_s=2.0, first_token_target_s=2.0) == "green"
    assert seen(first_token_p95_s=2.1, first_token_target_s=2.0) == "yellow"
    assert seen(hours=LEAST_HOURS) == "green" and seen(hours=LEAST_HOURS - 0.1) == "unknown"
    assert seen(use=None) == "unknown"


def test_an_upper_bound_shows_what_is_idle_and_never_what_is_full() -> None:
    assert seen(use_p95=1.0, is_bound=True) == "green"
    assert seen(use=0.1, is_bound=True) == "red"


def test_training_is_never_late() -> None:
    assert seen(use_p95=1.0, serves=False) == "green"


def test_shrinking_says_by_how_much_and_what_it_saves() -> None:
    found = light(msgspec.structs.replace(USED, use=0.2, enough=1))
    assert (found.colour, found.spare_units, found.action) == ("red", 3, "shrink by 3 of 4")
    assert found.saves == 3 * 2 * HOURS_A_MONTH * 10**9
    assert found.dearer == pytest.approx(5.0)
    assert "1 of 4 would do in 95 % of the hours" in found.why and "mean use 20 %" in found.why


def test_what_is_committed_saves_nothing_by_standing_still() -> None:
    found = light(msgspec.structs.replace(USED, use=0.2, enough=1, committed=True))
    assert found.spare_units == 3 and found.saves is None and "paid all the same" in found.action
    assert "let the commitment lapse" in light(msgspec.structs.replace(USED, use=0.0, enough=0, committed=True)).action


def test_one_unit_that_is_hardly_used_needs_another_size() -> None:
    found = light(msgspec.structs.replace(USED, use=0.1, units=1, enough=1))
    assert found.colour == "red" and found.spare_units == 0 and found.saves is None
    assert "a smaller GPU" in found.action


def test_a_share_just_below_a_bound_is_not_written_as_the_bound() -> None:
    assert "mean use 29.9 %" in light(msgspec.structs.replace(USED, use=0.29997)).why


@pytest.mark.parametrize(("idle", "multiplier"), [(0.6, 2.5), (0.7, 3.3333)])
def test_idle_makes_the_rest_dearer(idle: float, multiplier: float) -> None:
    """The articles' 60 to 70 % idle: 2.50 to 3.33 times the price."""
    assert light(msgspec.structs.replace(USED, use=1 - idle)).dearer == pytest.approx(multiplier, abs=1e-3)


@given(st.floats(0, 1000), SHARES, SHARES, st.integers(0, 9), st.none() | st.integers(0, 9), st.booleans(), SHARES, SHARES, st.booleans())
def test_what_is_late_is_never_told_to_shrink(
    hours: float, use: float | None, p95: float | None, units: int, enough: int | None, serves: bool, waiting: float | None,
    kv: float | None, late: bool,
) -> None:  # fmt: skip
    found = light(
        Load(
            hours=hours, use=use, use_p95=p95, units=units, enough=enough, serves=serves, waiting_share=waiting, kv_use_p95=kv,
            unit_hour=Fraction(1), first_token_p95_s=2.0 if late else 1.0, first_token_target_s=1.5,
        )
    )  # fmt: skip
    assert found.law and found.action and found.meaning
    if late:
        assert found.colour in ("yellow", "unknown")
    if found.colour != "red":
        assert found.spare_units is None and found.saves is None
    else:
        assert found.saves is None or found.saves == (found.spare_units or 0) * HOURS_A_MONTH * 10**9
