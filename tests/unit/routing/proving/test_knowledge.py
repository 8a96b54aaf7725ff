"""What a tag may be given, by what is known of it."""

import random

import pytest

from penstock.domain.routing.proving.knowledge import Knowledge
from tests.unit.routing.proving.tables import law, row


@pytest.mark.parametrize("faithful", [False, True])
def test_a_way_that_costs_more_than_the_last_tier_is_never_a_choice(faithful: bool) -> None:
    """Not even the present one, which is taken for a little cheaper than it is."""
    known, dice = Knowledge(law(0.1, strategy="gate")), random.Random(1)
    for at in range(300):
        observation = row("dear", 1.0, agree=dice.random() < 0.97, costs={"small": 9_950, "mid": 9_950, "large": 20_000}, at_ns=at)
        known.learn(observation, known.outcomes(observation))
    known.look()
    gate = next(at for at, way in enumerate(known.ways) if way.tiers == ("small", "mid"))
    for choice in known.choices("dear", gate if faithful else None):
        if choice.way is not None:
            share = known.cost_share("dear", known.ways[choice.way], choice.opening.kept)
            assert share is not None
            assert share < 1
