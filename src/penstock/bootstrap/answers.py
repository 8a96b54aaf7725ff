"""What the semantic cache keeps, by the settings: its store, its log as the controller and commands follow it, and ratings of answers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import open_documents, open_keys, open_reading
from penstock.bootstrap.processes import one_thread_for_numbers
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.domain.ledger.record import UsageRecord
    from penstock.finops.caching.feedback import FeedbackDesk
    from penstock.finops.caching.following import AnswerLog
    from penstock.finops.caching.learning import Learning
    from penstock.finops.routing.hearing import RouteFeedback
    from penstock.ports.answer_store import AnswerStore

_REDIS = ("redis://", "rediss://")


def by_meaning(settings: Settings) -> bool:
    """Whether answers are kept for requests that mean the same: asked for, and the extra is installed."""
    if not settings.cache.semantic.enabled:
        return False
    from penstock.adapters.embedders import missing

    return not missing()


def answers_url(settings: Settings) -> str:
    """Where questions and answers are kept: `local://` is a file beside the journal."""
    given, shared = settings.cache.semantic.store, settings.server.shared
    if given != "auto":
        return given
    return shared if shared.startswith(_REDIS) else "local://"


def answers_shared(settings: Settings) -> bool:
    """Whether hosts share them."""
    return answers_url(settings) != "local://"


def open_answers(settings: Settings, log: Callable[[str], None]) -> "AnswerStore":
    """The store, nothing touched yet. Raises `AnswerStoreError` when its driver is not installed."""
    from penstock.adapters.answers import open_answers

    return open_answers(answers_url(settings), settings.server.journal, log)


def answer_log(settings: Settings, log: Callable[[str], None], *, whole: bool = False, learning: bool = False) -> "AnswerLog":
    """The log of the store, nothing opened yet. `whole`: with questions and tags; `learning`: judges learn beside."""
    from penstock.finops.caching.following import AnswerLog

    learn = (lambda: _learning(settings)) if learning else None
    return AnswerLog(lambda: open_answers(settings, log), log, whole=whole, learning=learn)


def open_feedback(settings: Settings, answers: "AnswerLog | None", routed: "RouteFeedback | None" = None) -> "FeedbackDesk":
    """What takes ratings of answers; `answers`: the log of the semantic cache, where it is on; `routed` hears what they say of tiers.
    Raises `StoreError`."""
    from penstock.finops.caching.feedback import FeedbackDesk

    return FeedbackDesk(open_documents(settings), lambda id: _record(settings, id), open_keys(settings).all, answers, routed)


def _record(settings: Settings, request_id: str) -> "UsageRecord | None":
    """A record of the store, else of the journal. Raises `StoreError`, `JournalError`."""
    from penstock.finops.intake import pending

    with open_reading(settings) as (snapshot, reader):
        if (found := snapshot.find(request_id)) is not None:
            return found
        return next((record for record in pending(reader, snapshot) if record.id == request_id), None)


def _learning(settings: Settings) -> "Learning":
    """Judges as the workers have them."""
    one_thread_for_numbers()
    from penstock.domain.routing.similarity.decision import Decider
    from penstock.finops.caching.learning import Learning

    given = settings.cache.semantic
    return Learning(lambda: Decider(given.mode, given.max_error, given.similarity, given.probe))
