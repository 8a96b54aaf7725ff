"""The semantic cache of the demo, wired: whether it can be shown, what its questions mean, and where the log of its history goes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.bootstrap.answers import open_answers
from penstock.bootstrap.caching import INSTALL, WANTING
from penstock.bootstrap.processes import one_thread_for_numbers
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.demo.answering import Log, Meant

EMBEDDER = "minilm"


def lacks_for_meaning(environ: Mapping[str, str]) -> str | None:
    """Why the demo does without answers by meaning, in one line; None: it need not. Loads nothing heavy."""
    from penstock.adapters.embedders import missing

    if lacking := missing():
        return f"{WANTING.format(', '.join(lacking))}; {INSTALL}"
    from penstock.adapters.embedders.weights import find
    from penstock.ports.embedder import EmbedderError

    try:
        find(EMBEDDER, Path(), environ)
    except EmbedderError as problem:
        return f"{problem}; {problem.hint}"
    return None


def meant(
    settings: Settings, environ: Mapping[str, str], asks: dict[str, Any], texts: list[str], log: Callable[[str], None]
) -> "Meant | None":
    """The vectors of texts, and the partition in which the gateway looks for such a request; None when they cannot be made, which is said.

    Takes a second.
    """
    import asyncio

    from penstock.adapters.embedders import open_embedder
    from penstock.demo.answering import Meant
    from penstock.ports.embedder import Embedded, EmbedderError

    async def embedded() -> tuple[str, Embedded]:
        embedder = open_embedder(settings.cache.semantic.embedder, Path(), environ)
        try:
            return embedder.stamp, await embedder.embed(texts)
        finally:
            await embedder.close()

    one_thread_for_numbers()
    try:
        stamp, made = asyncio.run(embedded())
    except EmbedderError as problem:
        log(f"warning: the history has no answers by meaning: {problem}")
        return None
    vectors = {text: row.astype("<f4", copy=False).tobytes() for text, row in zip(texts, made.vectors, strict=True)}
    return Meant(stamp, vectors, KEYLESS, _partition(settings, asks))


def keep_log(settings: Settings, found: "Log", log: Callable[[str], None]) -> None:
    """Puts the log of the history where the gateway reads its own, and what was learned from it, so that a worker knows that even when the
    controller has trimmed what is old before it was read. Raises `AnswerStoreError`."""
    from penstock.ports.answer_store import JUDGES

    store = open_answers(settings, log)
    try:
        store.append(found.events, found.answers)
        place = 0
        while events := store.since(place):
            place = events[-1].place
        store.keep_state(JUDGES, place, found.judges)
    finally:
        store.close()


KEYLESS = ("keyless",)
"""the scope of callers without a key"""


def _partition(settings: Settings, asks: dict[str, Any]) -> bytes:
    """As the gateway makes it for a chat completion without a key, query or headers that matter."""
    from penstock.domain.routing.cache_key import cache_key
    from penstock.domain.routing.similarity.question import Question, question_of
    from penstock.gateway.targets import Targets

    question, target = question_of("chat.completions", asks), Targets(settings).find(asks["model"])
    assert isinstance(question, Question) and target is not None
    found = cache_key((*KEYLESS, "", ""), "chat.completions", target.name, target.fingerprint, question.rest)
    assert found is not None
    return found
