"""The frequent questions: plain, not bound to time, and known to the engines that answer them."""

from pathlib import Path

from penstock.adapters.upstreams.simulated.known import known_answers
from penstock.demo.faq import file, texts, topics
from penstock.demo.questions import frequent
from penstock.domain.routing.complexity import complexity
from penstock.domain.routing.similarity.question import Question, question_of

MOST_CHARACTERS = 4 * 90
"""of an answer, as the chat asks for it"""


def test_every_wording_may_be_answered_by_meaning() -> None:
    for topic in topics():
        for text in (*topic.asked, *topic.live):
            question = question_of("chat.completions", frequent(text))
            assert isinstance(question, Question) and not question.time_bound, text
            assert complexity(frequent(text)) < 0.3, text


def test_no_wording_stands_twice_and_no_answer_is_cut_off() -> None:
    wordings = [text for topic in topics() for text in (*topic.asked, *topic.live)]
    assert len(wordings) == len(set(wordings))
    assert len(texts()) == len(set(texts()))
    assert all(len(said) < MOST_CHARACTERS for topic in topics() for said in topic.says)


def test_the_engines_know_them_all(tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(file(), "utf-8")
    known = known_answers(str(path))
    for topic in topics():
        for text in (*topic.asked, *topic.live):
            found = known.answer_to(text)
            assert found is not None and found.say == topic.says and not found.wrong, text
