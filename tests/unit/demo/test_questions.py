"""The live calls of the fictional firm: the same seed gives the same traffic, with the mix that the demo is about."""

from collections import Counter
from itertools import islice

import orjson

from penstock.demo.faq import topics
from penstock.demo.firm import FEATURES
from penstock.demo.questions import CALLS_PER_SECOND, SCRIPTS, calls
from penstock.domain.routing.complexity import complexity

SAMPLE = 2000


def test_the_same_seed_plays_the_same_traffic() -> None:
    assert list(islice(calls(3), 50)) == list(islice(calls(3), 50))
    assert list(islice(calls(3), 50)) != list(islice(calls(4), 50))


def test_four_teams_with_nine_features_and_some_that_nobody_tagged() -> None:
    tags = [call.tags for call in islice(calls(7), SAMPLE)]
    features = Counter((tag["team"], tag["feature"]) for tag in tags if tag)
    assert len({team for team, _ in features}) == 4
    assert set(features) == {(feature.team, feature.name) for feature in FEATURES}
    assert len(features) == 9
    assert min(features.values()) > SAMPLE * 0.02
    assert 0.02 < sum(not tag for tag in tags) / SAMPLE < 0.06
    assert all(tag["user"] for tag in tags if tag)


def test_every_feature_has_its_questions() -> None:
    assert set(SCRIPTS) == {feature.name for feature in FEATURES} | {""}


def test_most_questions_are_easy_and_many_are_repeats() -> None:
    played = list(islice(calls(7), SAMPLE))
    scores = [complexity(call.body) for call in played]
    distinct = len({orjson.dumps(call.body) for call in played})
    assert 0.6 < sum(score < 0.3 for score in scores) / SAMPLE < 0.8
    assert 0.1 < sum(0.3 <= score <= 0.7 for score in scores) / SAMPLE < 0.3, "the medium tier has something to do"
    assert 0.1 < sum(score > 0.7 for score in scores) / SAMPLE < 0.35
    assert 0.2 < 1 - distinct / SAMPLE < 0.55
    assert 0.3 < sum(call.streamed for call in played) / SAMPLE < 0.7


def test_the_pace_is_as_stated() -> None:
    seconds = sum(call.after_s for call in islice(calls(7), SAMPLE))
    assert 0.85 < SAMPLE / seconds / CALLS_PER_SECOND < 1.25


def test_only_the_chat_may_be_answered_by_meaning() -> None:
    played = list(islice(calls(7), SAMPLE))
    assert {call.tags.get("feature") for call in played if call.by_meaning} == {"chat"}
    assert all(call.by_meaning for call in played if call.tags.get("feature") == "chat")


def test_frequent_questions_come_in_words_of_the_history_and_in_new_ones() -> None:
    first_turns = [call.body["messages"][1]["content"] for call in islice(calls(7), SAMPLE) if len(call.body["messages"]) == 2]
    known, new = {text for topic in topics() for text in topic.asked}, {text for topic in topics() for text in topic.live}
    asked = [text for text in first_turns if text in known]
    anew = [text for text in first_turns if text in new]
    assert len(asked) + len(anew) > 0.25 * SAMPLE
    assert 0.35 < len(anew) / (len(asked) + len(anew)) < 0.65
    assert len(set(anew)) > 0.9 * len(new), "each is asked sooner or later"
