"""The fictional firm: the same seed gives the same traffic, with the mix that the demo is about."""

from collections import Counter
from itertools import islice

import orjson

from penstock.demo.firm import CALLS_PER_SECOND, calls
from penstock.domain.routing.complexity import complexity

SAMPLE = 2000


def test_the_same_seed_plays_the_same_traffic() -> None:
    assert list(islice(calls(3), 50)) == list(islice(calls(3), 50))
    assert list(islice(calls(3), 50)) != list(islice(calls(4), 50))


def test_four_teams_with_nine_features() -> None:
    features = Counter((call.team, call.feature) for call in islice(calls(7), SAMPLE))
    assert len({team for team, _ in features}) == 4
    assert len(features) == 9
    assert min(features.values()) > SAMPLE * 0.02


def test_most_questions_are_easy_and_many_are_repeats() -> None:
    played = list(islice(calls(7), SAMPLE))
    easy = sum(complexity(call.body) <= 0.7 for call in played)
    distinct = len({orjson.dumps(call.body) for call in played})
    assert 0.55 < easy / SAMPLE < 0.75
    assert 0.2 < 1 - distinct / SAMPLE < 0.32
    assert 0.3 < sum(call.streamed for call in played) / SAMPLE < 0.7


def test_the_pace_is_as_stated() -> None:
    seconds = sum(call.after_s for call in islice(calls(7), SAMPLE))
    assert 0.85 < SAMPLE / seconds / CALLS_PER_SECOND < 1.25
