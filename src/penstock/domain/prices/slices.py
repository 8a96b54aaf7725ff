"""MIG slices: what share of a card each one is, and how many cards hold a set of them.

Source: NVIDIA MIG User Guide, "Supported GPUs" and "Supported MIG Profiles", read 2026-11-21. A slice has compute parts (the
number before `g`) and memory parts; a card has 7 and 8 of these, the small cards as many memory parts as compute parts.
"""

import re
from collections.abc import Iterable
from fractions import Fraction

from penstock.domain.prices.config_price import PriceError

PARTS = 7
FEWER_PARTS = {"A30": 4, "RTX PRO 6000": 4, "RTX PRO 5000": 2, "RTX PRO 4500": 2}
"""cards with fewer compute parts than 7"""
CARD_GB = {"GB200": 186, "GH200": 96, "H100": 80, "H200": 141, "H20": 96, "B200": 180, "B300": 269}
"""memory of cards whose name does not say it, as profiles divide it"""
ORDINARY_MEMORY = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}
"""compute parts -> memory parts of 8, for the profiles without extra memory"""
_PROFILE = re.compile(r"(?:mig-)?([1-9])g\.(\d+)gb(?:\+[a-z.]+)?", re.IGNORECASE)
_GIGABYTES = re.compile(r"(\d+)\s*GB")


def slice_share(gpu: str, mig: str | None) -> Fraction:
    """The share of a card that one slice is (its compute parts over the card's); 1 without a profile. Raises `PriceError`."""
    return Fraction(1) if mig is None else Fraction(_footprint(gpu, mig)[0], card_parts(gpu)[0])


def card_parts(gpu: str) -> tuple[int, int]:
    """(compute, memory) parts of a card."""
    name = _plain(gpu)
    fewer = next((parts for known, parts in FEWER_PARTS.items() if known in name), None)
    return (PARTS, PARTS + 1) if fewer is None else (fewer, fewer)


def cards_for(gpu: str, slices: Iterable[tuple[str, int]]) -> int:
    """As few cards as can hold these (profile, count). The largest slices are placed first. Raises `PriceError`."""
    whole = card_parts(gpu)
    footprints = sorted((_footprint(gpu, mig) for mig, count in slices for _ in range(count)), reverse=True)
    cards: list[tuple[int, int]] = []
    for compute, memory in footprints:
        index = next((i for i, left in enumerate(cards) if left[0] >= compute and left[1] >= memory), None)
        if index is None:
            cards.append((whole[0] - compute, whole[1] - memory))
        else:
            cards[index] = (cards[index][0] - compute, cards[index][1] - memory)
    return len(cards)


def _footprint(gpu: str, mig: str) -> tuple[int, int]:
    match = _PROFILE.fullmatch(mig.strip())
    if match is None:
        raise PriceError(f"`{mig}` is not a MIG profile: write it like `1g.10gb` or `3g.40gb`")
    compute, (most, memory) = int(match[1]), card_parts(gpu)
    if compute > most:
        raise PriceError(f"`{mig}` does not fit on a {gpu}: it has {most} compute slices")
    if most < PARTS:
        return compute, compute
    if compute not in ORDINARY_MEMORY:
        raise PriceError(f"`{mig}` is not a MIG profile of a {gpu}: slices have {', '.join(map(str, ORDINARY_MEMORY))} parts")
    card = _card_gb(gpu)
    if card is None:
        return compute, ORDINARY_MEMORY[compute]
    # names round the memory, so `18gb` is an eighth of 141
    fits = (parts for parts in (1, 2, 4, 8) if int(match[2]) * memory * 32 <= card * parts * 33)
    needed = next(fits, None)
    if needed is None:
        raise PriceError(f"`{mig}` does not fit on a {gpu}: it has {card} GB")
    return compute, max(needed, ORDINARY_MEMORY[compute])


def _card_gb(gpu: str) -> int | None:
    match = _GIGABYTES.search(gpu.upper())
    if match is not None:
        return int(match[1])
    name = _plain(gpu)
    return next((size for known, size in CARD_GB.items() if known in name), None)


def _plain(gpu: str) -> str:
    return re.sub(r"[\s_-]+", " ", gpu.upper())
