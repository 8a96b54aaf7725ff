"""Answers that a simulated engine is given: to which questions it says them, and what it says of a file that it cannot use."""

from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.upstreams.simulated.calls import chat_call
from penstock.adapters.upstreams.simulated.options import Options, OptionsError, parse_options

FILE = """
[[answers]]
to  = ["Are you open?", "When do you open?"]
say = ["From 8:00 on.", "We open at 8:00."]

[[answers]]
to  = ["Are you open on Saturdays?"]
say = ["No."]
"""


@pytest.fixture
def options(tmp_path: Path) -> Options:
    path = tmp_path / "answers.toml"
    path.write_text(FILE)
    return parse_options({"answers": str(path)})


def says(options: Options, *turns: Any, **body: Any) -> str:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": turn} for at, turn in enumerate(turns)]
    [said] = chat_call({"messages": messages, **body}, "m", options).utterances
    return said.content


def test_a_known_question_is_answered_whatever_stands_around_it(options: Options) -> None:
    for asked in ("When do you open?", "hello,  when do you OPEN - please", [{"type": "text", "text": "When do you open?"}]):
        assert says(options, asked) in ("From 8:00 on.", "We open at 8:00.")


def test_the_longest_question_counts(options: Options) -> None:
    assert says(options, "Are you open on Saturdays?") == "No."
    assert says(options, "Are you open?") != "No."


def test_only_the_last_turn_is_looked_at(options: Options) -> None:
    assert says(options, "Are you open on Saturdays?", "No.", "Why?").startswith("This is a simulated answer.")
    assert says(options, "Are you open on Saturdays?", "Let me see").startswith("This is a simulated answer."), "the user has not asked"


def test_the_request_decides_which_words_are_used(options: Options) -> None:
    said = {says(options, "When do you open?", seed=seed) for seed in range(20)}
    assert said == {"From 8:00 on.", "We open at 8:00."}
    assert says(options, "When do you open?", seed=3) == says(options, "When do you open?", seed=3)


def test_what_it_does_not_know_it_makes_up(options: Options) -> None:
    assert says(options, "Who are you?") == says(Options(), "Who are you?")
    assert says(options, "") == says(Options(), "")


def test_a_limit_cuts_it_off(options: Options) -> None:
    [said] = chat_call({"messages": [{"role": "user", "content": "When do you open?"}], "max_tokens": 2}, "m", options).utterances
    assert said.finish_reason == "length" and len(said.content) == 8


@pytest.mark.parametrize(
    "text",
    [
        "answers = 3",
        "[[answers]]\nto = ['a']",
        "[[answers]]\nto = ['?']\nsay = ['b']",
        "[[answers]]\nto = ['a']\nsay = []",
        "not toml",
        "\xff",
    ],
)
def test_a_file_that_cannot_be_used_is_told_of(tmp_path: Path, text: str) -> None:
    path = tmp_path / "answers.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(OptionsError, match="answers") as told:
        parse_options({"answers": str(path)})
    assert "[[answers]]" in told.value.hint
    with pytest.raises(OptionsError, match="No such file"):
        parse_options({"answers": str(tmp_path / "none.toml")})
