"""A simulated model with a skill: right more often the more able it is, the same words when right, and less sure when wrong."""

import json
from itertools import pairwise
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from penstock.adapters.upstreams.simulated import shapes
from penstock.adapters.upstreams.simulated.ability import REFUSAL
from penstock.adapters.upstreams.simulated.answers import Utterance
from penstock.adapters.upstreams.simulated.calls import chat_call
from penstock.adapters.upstreams.simulated.options import Options, OptionsError, parse_options

QUESTIONS = [f"How much is {number} of these?" for number in range(600)]
SURE = Options(skill=1.0)


def asked(question: str, options: Options, model: str = "m", **body: Any) -> Utterance:
    [said] = chat_call({"messages": [{"role": "user", "content": question}], **body}, model, options).utterances
    return said


def final(said: Utterance) -> str:
    """What it comes down to."""
    return said.content[said.content.rfind("The answer is ") :]


def right(question: str) -> str:
    """What a model comes to that no question is too hard for."""
    return next(final(said) for model in "abcdefgh" if (said := asked(question, SURE, model)).sure and said.sure > 0.8)


def quality(skill: float, model: str = "m") -> list[bool]:
    return [final(asked(question, Options(skill=skill), model)) == right(question) for question in QUESTIONS]


def test_who_is_able_is_right_more_often() -> None:
    shares = [fmean(quality(skill)) for skill in (0.0, 0.3, 0.6, 0.9)]
    assert all(low + 0.15 < high for low, high in pairwise(shares))
    assert shares[0] < 0.1 and shares[3] > 0.85


def test_right_ones_agree_and_wrong_ones_seldom() -> None:
    small, other = ([final(asked(question, Options(skill=0.6), model)) for question in QUESTIONS] for model in ("a", "b"))
    rights = [right(question) for question in QUESTIONS]
    agreed = [one == truth for one, two, truth in zip(small, other, rights, strict=True) if one == two]
    assert len(agreed) > 250 and fmean(agreed) > 0.9 > 0.75 > fmean(one == truth for one, truth in zip(small, rights, strict=True))


def test_a_wrong_answer_sounds_less_sure() -> None:
    options = Options(skill=0.6)
    said = [asked(question, options) for question in QUESTIONS]
    known, guessed = ([each.sure or 0 for each, is_right in zip(said, quality(0.6), strict=True) if is_right is it] for it in (True, False))
    assert fmean(known) > 0.85 > 0.5 > fmean(guessed)
    assert max(guessed) > 0.8 > min(known), "how sure it sounds does not tell all"


def test_the_numbers_of_the_tokens_say_how_sure_it_is() -> None:
    options = Options(skill=0.6)
    for question in QUESTIONS[:40]:
        call = chat_call({"messages": [{"role": "user", "content": question}], "logprobs": True, "max_tokens": 7}, "m", options)
        choice = json.loads(shapes.whole(call, call.job(), None))["choices"][0]
        mean = fmean(each["logprob"] for each in choice["logprobs"]["content"])
        [said] = call.utterances
        assert abs(exp(mean) - (said.sure or 0)) < 0.3


def test_only_calls_with_a_temperature_differ() -> None:
    close = next(
        question for question in QUESTIONS if len({final(asked(question, Options(skill=0.6), seed=seed)) for seed in range(20)}) > 1
    )
    assert len({final(asked(close, Options(skill=0.6), seed=seed, temperature=0)) for seed in range(20)}) == 1
    assert asked(close, Options(skill=0.6), seed=3) == asked(close, Options(skill=0.6), seed=3)


def test_some_questions_are_refused() -> None:
    options = Options(skill=0.9, refuses=0.1)
    refused = fmean(asked(question, options).content == REFUSAL for question in QUESTIONS)
    assert 0.06 < refused < 0.14


def test_json_and_calls_of_tools_are_right_or_wrong_too() -> None:
    schema = {"type": "object", "properties": {"count": {"type": "integer", "maximum": 900}, "name": {"type": "string"}}}
    wanted = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    tools = {"tools": [{"type": "function", "function": {"name": "look", "parameters": schema}}]}
    for body in (wanted, tools):
        equal = fmean(
            asked(q, Options(skill=0.9), "a", **body).content == asked(q, Options(skill=0.9), "b", **body).content for q in QUESTIONS
        )
        apart = fmean(
            asked(q, Options(skill=0.3), "a", **body).content == asked(q, Options(skill=0.9), "b", **body).content for q in QUESTIONS
        )
        assert equal > 0.75 > 0.6 > apart


def test_known_answers_say_what_is_wrong_and_how_hard_it_is(tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(
        '[[answers]]\nto = ["my bill doubled"]\nsay = ["bill"]\nwrong = ["other", "leak"]\ndifficulty = 0.5\n'
        '[[answers]]\nto = ["who are you"]\nsay = ["A model."]\n'
    )
    options = parse_options({"answers": str(path), "skill": {"able": 1, "weak": 0.0}, "seed": 3})
    assert asked("Label this: my bill doubled", options, "able").content == "bill"
    assert asked("Label this: my bill doubled", options, "weak").content in ("other", "leak")
    assert {asked("Who are you?", options, model).content for model in ("able", "weak")} == {"A model."}, "what all know is never wrong"
    assert asked("my bill doubled", options, "another").content == "bill", "a model without a skill says what is known"
    assert asked("What else?", options, "another").content.startswith("This is a simulated answer.")


@pytest.mark.parametrize("table", [{"skill": 1.5}, {"skill": {"m": -1}}, {"skill": 0.5, "refuses": 2}])
def test_what_is_no_share_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=r"skill|refuses"):
        parse_options(table)
