"""MIG slices against NVIDIA's table of profiles: how many fit on a card, and what share of it each one is."""

from fractions import Fraction

import pytest

from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.slices import cards_for, slice_share


@pytest.mark.parametrize(
    ("gpu", "mig", "most"),
    [
        ("A100-40GB", "1g.5gb", 7),
        ("A100-40GB", "1g.10gb", 4),
        ("A100-40GB", "2g.10gb", 3),
        ("A100-80GB", "1g.10gb", 7),
        ("A100-80GB", "1g.20gb", 4),
        ("A100-80GB", "3g.40gb", 2),
        ("A100-80GB", "4g.40gb", 1),
        ("H100", "1g.10gb", 7),
        ("H100", "1g.20gb", 4),
        ("H100", "2g.20gb", 3),
        ("H100", "7g.80gb", 1),
        ("H100-94GB", "1g.12gb", 7),
        ("H200", "1g.18gb", 7),
        ("H200", "1g.35gb", 4),
        ("H200", "3g.71gb", 2),
        ("B200", "1g.23gb", 7),
        ("B200", "1g.45gb", 4),
        ("B300", "3g.135gb", 2),
        ("A30", "1g.6gb", 4),
        ("A30", "2g.12gb", 2),
        ("A30", "4g.24gb", 1),
        ("RTX-PRO-6000", "1g.24gb", 4),
        ("RTX PRO 6000 Blackwell", "2g.48gb", 2),
        ("NVIDIA A100-SXM4-80GB", "mig-1g.10gb+me", 7),
        ("some card", "3g.40gb", 2),
    ],
)
def test_as_many_slices_fit_on_a_card_as_the_vendor_says(gpu: str, mig: str, most: int) -> None:
    assert cards_for(gpu, [(mig, most)]) == 1
    assert cards_for(gpu, [(mig, most + 1)]) == 2
    assert slice_share(gpu, mig) * most <= 1


@pytest.mark.parametrize(
    ("slices", "cards"),
    [
        ([("4g.40gb", 1), ("3g.40gb", 1)], 1),
        ([("4g.40gb", 1), ("2g.20gb", 1), ("1g.10gb", 1)], 1),
        ([("3g.40gb", 1), ("2g.20gb", 2)], 1),
        ([("3g.40gb", 2), ("1g.10gb", 1)], 2),  # both halves of the memory are taken
        ([("1g.10gb", 3), ("4g.40gb", 2)], 2),
        ([], 0),
        ([("7g.80gb", 0)], 0),
    ],
)
def test_mixed_slices(slices: list[tuple[str, int]], cards: int) -> None:
    assert cards_for("H100-80GB", slices) == cards


def test_a_slice_is_the_share_of_its_compute() -> None:
    assert slice_share("H100", None) == 1
    assert slice_share("H100", "3g.40gb") == Fraction(3, 7)
    assert slice_share("A30", "2g.12gb") == Fraction(1, 2)
    assert slice_share("rtx_pro_6000", "1g.24gb") == Fraction(1, 4)


@pytest.mark.parametrize(
    ("gpu", "mig", "words"),
    [
        ("H100", "half", "not a MIG profile: write it like `1g.10gb`"),
        ("A30", "7g.80gb", "does not fit on a A30"),
        ("H100", "8g.80gb", "does not fit"),
        ("H100", "5g.40gb", "1, 2, 3, 4, 7 parts"),
        ("A100-40GB", "7g.80gb", "it has 40 GB"),
    ],
)
def test_what_is_no_slice_is_refused(gpu: str, mig: str, words: str) -> None:
    with pytest.raises(PriceError, match=words):
        slice_share(gpu, mig)
