"""The semantic cache's promise with the model that ships: questions that look alike to it are not answered alike."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bench.semcache import Cache, Embedding, play
from penstock.adapters.embedders import missing
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Judgement, Neighbour
from penstock.ports.embedder import Vectors
from tests.unit.routing.similarity.questions import stream

Embedded = Callable[[Sequence[str]], dict[str, Vectors | None]]
REQUESTS = 1100
MAX_ERROR = 0.02
NUMBERS = (
    ("How do I transfer 500 euros to my savings account?", "How do I transfer 900 euros to my savings account?"),
    ("Is the museum open on 12 May?", "Is the museum open on 13 May?"),
    ("What changed in version 3.11 of Python?", "What changed in version 3.12 of Python?"),
)
TRAPS = (
    *NUMBERS,
    ("Is it safe to take ibuprofen while pregnant?", "Is it not safe to take ibuprofen while pregnant?"),
    ("Why does my phone charge?", "Why doesn't my phone charge?"),
    ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?"),
    ("Book a train from Vienna to Berlin", "Book a train from Berlin to Vienna"),
    ("Book a train from Vieenna to Berlin", "Book a train from Berlin to Vienna"),
    ("Convert 5 miles to kilometres", "Convert five hundred miles to kilometres"),
    ("What does `git rebase -i` do?", "What does `git rebase -r` do?"),
    ("How do I turn notifications on?", "How do I turn notifications off?"),
    ("What is the weather in Lisbon in May?", "What is the weather in Lisbon in March?"),
    ("Send flowers to my mother", "Send flowers from my mother"),
    ("How do I get from the airport to the city centre?", "How do I get to the airport from the city centre?"),
    ("Is it far from Lisbon to Oslo by train?", "Is it far from Oslo to Lisbon?"),
)
SAME = (
    ("How do I close my savings account?", "How can I close my savings account?"),
    ("Show me trains from Vienna to Berlin", "Show me the trains from Vienna to Berlin"),
    ("Is it safe to eat mushrooms?", "Is it really safe to eat mushrooms?"),
)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Embedded]:
    """In a thread of its own: the model's runtime makes floats nearest to zero 0 in the thread that opens it."""
    assert missing() == []
    with ThreadPoolExecutor(1) as thread:
        opened = thread.submit(Embedding).result()
        yield lambda texts: dict(zip(texts, thread.submit(opened.of, texts).result(), strict=True))
        thread.submit(opened.__exit__).result()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [{"prompt": prompt, "label": label} for prompt, label in stream(REQUESTS, 5)]


@pytest.fixture(scope="module")
def vectors(rows: Sequence[dict[str, str]], embedded: Embedded) -> dict[str, Vectors | None]:
    return embedded(sorted({row["prompt"] for row in rows}))


def judged(decider: Decider, embedded: Embedded, kept: str, asked: str) -> Judgement:
    """What is done with a question when another one is all that is kept."""
    one, other = embedded([kept, asked]).values()
    assert one is not None
    assert other is not None
    return decider.decide(asked, [Neighbour("kept", kept, float(np.dot(one, other)), "kept")], 0.999)


@pytest.mark.parametrize(("one", "other"), TRAPS)
def test_zero_trust_falls_into_no_trap(one: str, other: str, embedded: Embedded) -> None:
    decider = Decider("zero-trust", 0.005, 0.95, 0.02)
    assert judged(decider, embedded, one, other).verdict == "refuse"
    assert judged(decider, embedded, other, one).verdict == "refuse"


def test_vectors_alone_would_fall_into_traps(embedded: Embedded) -> None:
    decider = Decider("zero-trust", 0.005, 0.95, 0.02)
    assert sum((judged(decider, embedded, *trap).similarity or 0) >= 0.95 for trap in TRAPS) >= 5


@pytest.mark.parametrize(("one", "other"), SAME)
def test_zero_trust_serves_the_same_in_other_words(one: str, other: str, embedded: Embedded) -> None:
    assert judged(Decider("zero-trust", 0.005, 0.95, 0.02), embedded, one, other).verdict == "serve"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_learned_keeps_its_promise(seed: int, rows: list[dict[str, str]], vectors: dict[str, Vectors | None], embedded: Embedded) -> None:
    cache = Cache(MAX_ERROR, "learned", seed)
    counts = play(rows, vectors, cache)
    assert sum(count["false_hits"] for count in counts.values()) <= MAX_ERROR * REQUESTS
    assert sum(count["semantic"] for count in counts.values()) >= 100
    for one, other in NUMBERS:
        assert judged(cache.decider, embedded, one, other).verdict == "refuse"


def test_zero_trust_is_never_wrong_here(rows: list[dict[str, str]], vectors: dict[str, Vectors | None]) -> None:
    counts = play(rows, vectors, Cache(MAX_ERROR, "zero-trust", 1))
    assert sum(count["false_hits"] for count in counts.values()) == 0
    assert sum(count["semantic"] for count in counts.values()) >= 10


def test_who_accepts_no_errors_gets_the_same_words_only(rows: list[dict[str, str]], vectors: dict[str, Vectors | None]) -> None:
    counts = play(rows, vectors, Cache(0.0, "learned", 1))
    assert sum(count["semantic"] for count in counts.values()) == 0
    assert sum(count["exact"] + count["normalised"] for count in counts.values()) >= 300
