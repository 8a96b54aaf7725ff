"""Which questions have another answer tomorrow."""

import time

import pytest

from penstock.domain.routing.similarity.time_bound import time_bound


@pytest.mark.parametrize(
    "text",
    [
        "What time is it?",
        "what's the weather in Oslo",
        "who won the match",
        "the LATEST news please",
        "what is my current spending limit",
        "how much does a litre of milk cost",
        "price of a stamp",
        "is the shop still open",
        "what happens this week",
        "meetings next Tuesday",
        "what\u2019s the date",
        "today's specials",
        "how old is the president",
        "exchange rate of the euro",
        "Wie ist das Wetter heute?",
        "Was kostet das aktuell?",
        "übermorgen",
        "quelle heure est-il",
        "que s'est-il passé aujourd\u2019hui",
        "¿qué hora es?",
        "últimas noticias",
        "que horas são agora",
        "che tempo fa domani",
        "What year is it?",
        "is it Friday",
        "how many days to Christmas",
        "is GitHub down",
        "is the store open",
        "did the Lakers win",
        "what is gold worth",
        "\u041a\u0430\u043a\u0430\u044f \u0441\u0435\u0433\u043e\u0434\u043d\u044f \u043f\u043e\u0433\u043e\u0434\u0430?",
        "\u4eca\u5929\u51e0\u53f7?",
        "\u4eca\u65e5\u306e\u5929\u6c17\u306f?",
        "Jaka jest dzi\u015b pogoda?",
        "Hoe laat is het?",
        "Saat ka\u00e7?",
    ],
)
def test_questions_about_now(text: str) -> None:
    assert time_bound(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the capital of France?",
        "how do I reset my password",
        "I know nothing about snowboards",
        "explain the renaissance",
        "who wrote Faust",
        "convert 5 miles to km",
        "Guten Morgen",
        "wo ist hier der Bahnhof",
        "actual cost centre",
        "how do I run a marathon",
        "who invented the newspaper",
        "how many hours to bake bread",
        "is it safe to sit down",
        "When is the customer office open?",
        "Is the customer office open on Saturday?",
    ],
)
def test_questions_whose_answer_stays(text: str) -> None:
    assert not time_bound(text)


@pytest.mark.parametrize(
    "text", ["last few " * 20_000, "how much is a " * 10_000, "is a " * 20_000, "how many days are " * 10_000, "a" * 200_000]
)
def test_long_texts_take_linear_time(text: str) -> None:
    begun = time.process_time()
    assert not time_bound(text)
    assert time.process_time() - begun < 2
