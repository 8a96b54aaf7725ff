"""What the firm's applications ask live: calls without end, with the tags that its history has. The same seed, the same traffic.

About two calls in three are easy questions, and a quarter to a third of all calls ask exactly what was asked before. Every third call is
one of the chat's frequent questions, mostly in words in which nobody has asked it before.
"""

import random
from collections.abc import Iterator
from math import sqrt
from typing import Any

import msgspec

from penstock.demo.faq import pick, topics
from penstock.demo.firm import AUTO, CAREFUL, FEATURES, UNTAGGED, Feature, feature
from penstock.demo.lookups import DIAMETERS, TICKETS

CALLS_PER_SECOND = 3.0
FREQUENT = 0.33
ANEW = 0.5
"""part of the frequent questions that are asked in other words than in the history"""
REPEATED = 0.3
REMEMBERED = 60
"""a repeat is one of that many latest calls"""
_HOUSE = (
    " You work for Northwater, a regional water utility with 410,000 customers. Be exact, be brief, and name the source of every figure."
    " Never promise a repair date, never give medical advice, and hand over to a person when a customer reports danger."
)


class Call(msgspec.Struct, frozen=True):
    """One call: `body` is the chat completion without its `stream` fields; `after_s` is the pause before it."""

    tags: dict[str, str]
    body: dict[str, Any]
    streamed: bool
    after_s: float
    by_meaning: bool = False
    """whether it may be answered from the cache by another request than the very same"""


class Script(msgspec.Struct, frozen=True):
    """What a feature says: its system prompt, its questions with `{}` blanks, what fills them, and the longest answer that it takes."""

    system: str
    questions: tuple[str, ...]
    blanks: tuple[str, ...]
    max_tokens: int


SCRIPTS = {
    "chat": Script(
        "You answer customers in the chat window." + _HOUSE * 3,
        (
            "What is the office hours line for {}?",
            "How do I read my meter in {}?",
            "Can I pay my bill by card in {}?",
            "When is the next maintenance in {}?",
            "Explain why my bill in {} went up, and compare it with last winter.",
            "Please explain the water quality report for {} and recommend a filter.",
        ),
        ("Ashford", "Brookhill", "Calder", "Dunmore", "Eastmere", "Fenwick", "Garston", "Holloway"),
        90,
    ),
    "triage": Script(
        "Classify the ticket as leak, bill, quality or other. Answer with one word.",
        (
            "Label this ticket: {}",
            "Classify the ticket: {}",
        ),
        tuple(ticket.asked for ticket in TICKETS),
        12,
    ),
    "letters": Script(
        "You draft letters to customers." + _HOUSE * 2,
        (
            "Write to the residents of {}: explain the interruption, and propose what we do next.",
            "Draft a short letter that confirms the meter reading of {}.",
            "Rewrite in plain words: our engineers attended the burst in {} and restored supply.",
        ),
        ("3 May", "17 June", "Calder", "Dunmore", "Fenwick", "Holloway"),
        160,
    ),
    "documents": Script(
        "Answer from the passages below." + _HOUSE * 5,
        (
            "What is the permitted level of {} in drinking water?",
            "Where is the procedure for {} described?",
            "Is there a form for {}?",
            "Compare what the two inspection reports say about {} and explain the difference.",
        ),
        ("lead", "nitrate", "turbidity", "manganese", "a hydrant permit", "a new connection", "trade effluent"),
        400,
    ),
    "tagging": Script(
        "Tag the document with up to three topics. Answer with JSON.",
        (
            "Extract the topics of: report on {} in the northern network",
            "Identify the owner of the document on {}",
        ),
        ("pipe age", "pump energy", "leak detection", "valve inspection", "reservoir cleaning"),
        24,
    ),
    "code": Script(
        "You are a senior engineer." + _HOUSE,
        (
            "Debug this step by step and fix the race condition:\n```python\nasync def {}(queue):\n    item = queue.peek()\n    "
            "await store(item)\n    queue.pop()\n```\nExplain the root cause and write a test for it.",
            "Refactor `def {}(rows):` so that it runs in O(n), prove that it terminates, and analyse its edge cases in Python.",
            "Implement and explain a Python function `{}` that solves the mass-balance equations of a pipe network, step by step.",
        ),
        ("drain", "settle", "replay", "merge_readings", "close_valve", "balance", "poll_meters"),
        260,
    ),
    "hydraulics": Script(
        "You are a hydraulic engineer." + _HOUSE * 2,
        (
            "Derive the pressure loss for {} mm pipe from the Darcy-Weisbach equation step by step, compare it with "
            "Hazen-Williams, and justify which one to use at 3 bar, 40 m and 1.2 m/s.",
            "Analyse the water hammer of a {} mm main when a valve closes in 2 s: derive the surge equation, evaluate it for 900 "
            "m, and recommend a closing time.",
        ),
        DIAMETERS,
        300,
    ),
    "forecast": Script(
        "You advise the board." + _HOUSE * 2,
        (
            "Analyse the trade-offs between a new reservoir in {} and leak reduction: compare cost, risk and yield, forecast "
            "demand for 2030, 2035 and 2040 with the equation you use, and recommend one, step by step.",
            "Evaluate three scenarios for demand in {} and derive the probability of a shortfall from first principles. Compare "
            "them in a table with at least three columns and justify the weights.",
        ),
        ("Ashford", "Brookhill", "Calder", "Eastmere", "Garston"),
        320,
    ),
    "summaries": Script(
        "You summarise for the board in three bullet points." + _HOUSE * 3,
        (
            "Summarise in three bullet points: the {} works finished two weeks late and 4 % under budget.",
            "In one sentence, what is the state of {}?",
            "Analyse the quarterly report on the {} and explain what changed.",
        ),
        ("Calder intake", "Dunmore main", "Fenwick pumps", "Holloway tank", "Eastmere meters"),
        120,
    ),
    UNTAGGED.name: Script(
        "",
        ("Explain step by step what {} means, and compare it with what we did last year.", "Write a short note about {}."),
        ("the new tariff", "the drought plan", "the smart meter trial", "the reservoir survey"),
        140,
    ),
}


_CHAT = SCRIPTS["chat"]


def frequent(question: str) -> dict[str, Any]:
    """The body of a call that asks a frequent question: the first turn in the chat window."""
    messages = [{"role": "system", "content": _CHAT.system}, {"role": "user", "content": question}]
    return {"model": AUTO, "messages": messages, "max_tokens": _CHAT.max_tokens}


def calls(seed: int) -> Iterator[Call]:
    """The firm's calls without end, at about `CALLS_PER_SECOND` when each `after_s` is waited for."""
    rng = random.Random(seed)  # noqa: S311  traffic, not secrets
    features = (*FEATURES, UNTAGGED)
    shares = [_live_share(feature) for feature in features]
    past: list[Call] = []
    number = 0
    while True:
        pause = min(rng.expovariate(CALLS_PER_SECOND), 4 / CALLS_PER_SECOND)
        if rng.random() < FREQUENT:
            yield _frequent(pause, rng)
            continue
        if past and rng.random() < REPEATED:
            yield msgspec.structs.replace(rng.choice(past), streamed=rng.random() < 0.5, after_s=pause)
            continue
        number += 1
        call = _fresh(rng.choices(features, shares)[0], number, pause, rng)
        if call.body["model"] != CAREFUL:  # where to ask again at once is to complain
            past = [*past[1 - REMEMBERED :], call]
        yield call


def _live_share(feature: Feature) -> float:
    """Rare features more often than in the history, so that each is seen within a minute."""
    return sqrt(feature.share)


def _frequent(pause: float, rng: random.Random) -> Call:
    topic = topics()[pick(rng)]
    question = rng.choice(topic.live if rng.random() < ANEW else topic.asked)
    chat = feature("chat")
    return Call(rng.choice(chat.tags()), frequent(question), rng.random() < chat.streamed, pause, by_meaning=True)


def _fresh(feature: Feature, number: int, pause: float, rng: random.Random) -> Call:
    """A call that was not made before: its case number sees to that. In the chat window it goes on from what was said."""
    script = SCRIPTS[feature.name]
    question = rng.choice(script.questions).replace("{}", rng.choice(script.blanks))
    said = [{"role": "system", "content": script.system}] if script.system else []
    by_meaning = script is _CHAT
    if by_meaning:
        said += [{"role": "user", "content": f"This is about case {number}."}, {"role": "assistant", "content": "I see it. What is it?"}]
    else:
        question += f" (case {number})"
    body = {
        "model": CAREFUL if feature.asks == CAREFUL else AUTO,
        "messages": [*said, {"role": "user", "content": question}],
        "max_tokens": script.max_tokens,
    }
    tags = rng.choice(feature.tags())
    return Call(tags, body, rng.random() < feature.streamed, pause, by_meaning)
