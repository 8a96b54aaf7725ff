"""What people say: of anomalies at `POST /anomalies/{id}/feedback`, as JSON or from a form; of answers at `POST /v1/feedback`."""

import asyncio
import time
import traceback
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

import msgspec

from penstock.console.posting import FORM, Table, kind_of
from penstock.console.replies import Reply, Writer
from penstock.finops.anomalies.book import AnomalyBook, Verdict
from penstock.finops.anomalies.feedback import give_feedback
from penstock.finops.anomalies.words import anomaly_json
from penstock.finops.caching.feedback import FeedbackDesk, NotYours, Rating, heard_json
from penstock.gateway.heads import SECRET_PREFIX, read_heads
from penstock.gateway.refusal import Refusal, for_anthropic
from penstock.ports.answer_store import AnswerStoreError
from penstock.ports.audit_log import AuditLog
from penstock.ports.journal import JournalError
from penstock.ports.key_store import ApiKey, fingerprint
from penstock.ports.usage_store import StoreError
from penstock.wire.message import Request
from penstock.wire.responder import Responder

FEEDBACK_PATH = "/v1/feedback"
Actor = Callable[[Request], str]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    verdict: Verdict
    note: str = ""


def anomaly_posts(book: AnomalyBook, audit: AuditLog, actor: Actor, clock_ns: Callable[[], int] = time.time_ns) -> Table:
    """What people say of anomalies is kept, learned, and written into the audit log."""

    def feedback(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        """The anomaly with what was said: 200; to a form the way back to its page: 303."""
        html = kind_of(request) == FORM
        try:
            word = _said(request)
            found = book.get(parts[0])
            if found is None:
                return writer.problem(404, f"there is no anomaly `{parts[0][:40]}`", "`penstock anomalies` lists them", html=html)
            said = give_feedback(book, audit, found, word.verdict, word.note, actor=actor(request), at_ns=clock_ns())
        except msgspec.ValidationError as problem:
            return writer.problem(400, str(problem), "the verdict is YES, NO or PLANNED_ACTIVITY; a note is text", html=html)
        except (msgspec.DecodeError, ValueError):
            return writer.problem(400, "the body cannot be read", 'send {"verdict": "NO"}', html=html)
        except StoreError as problem:
            return writer.problem(503, str(problem), problem.hint, html=html)
        if html:
            return writer.back(f"/budgets?said={found.id}#anomalies")
        return writer.data(200, msgspec.json.encode(anomaly_json(found, said)))

    return {"/anomalies/{id}/feedback": feedback}


def _said(request: Request) -> _Said:
    if kind_of(request) != FORM:
        return msgspec.json.decode(request.body, type=_Said)
    fields = {key: values[-1] for key, values in parse_qs(request.body.decode("utf-8", "replace"), max_num_fields=8).items()}
    return msgspec.convert(fields, _Said)


class AnswerFeedback:
    """Answers `POST /v1/feedback`, for callers of models: known by their keys, told of errors in the shape that their SDKs expect."""

    def __init__(self, desk: FeedbackDesk, log: Callable[[str], None], clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`log` hears of what fails beyond all that is foreseen."""
        self._desk, self._log, self._clock_ns = desk, log, clock_ns

    @staticmethod
    def takes(path: str) -> bool:
        """Whether a path is its address, however its slashes are written."""
        return [part for part in path.split("/") if part] == FEEDBACK_PATH.split("/")[1:]

    async def answer(self, request: Request, responder: Responder) -> None:
        """The worker has let the caller in; whose requests they may rate is decided here."""
        try:
            told = await asyncio.to_thread(self._heard, request)
        except Refusal as problem:
            refusal = problem
        except Exception as problem:
            self._log(f"error: feedback failed\n{''.join(traceback.format_exception(problem)).rstrip()}")
            refusal = Refusal(500, "upstream", "the feedback could not be taken", "The log says what failed; send it again")
        else:
            responder.send(200, [(b"content-type", b"application/json")], msgspec.json.encode(told))
            return
        responder.send(refusal.status, refusal.headers(), refusal.body(for_anthropic(request)))

    def _heard(self, request: Request) -> dict[str, object]:
        """Raises `Refusal`."""
        if request.method != "POST":
            raise Refusal(405, "input", f"{FEEDBACK_PATH} takes POST, not {request.method}")
        try:
            rating = msgspec.json.decode(request.body, type=Rating)
        except msgspec.ValidationError as problem:
            hint = 'Send {"request_id": "req_...", "rating": "up"}, or "down", or a "score" from 0 to 1'
            raise Refusal(400, "input", f"the feedback cannot be taken: {problem}", hint) from None
        except msgspec.DecodeError as problem:
            raise Refusal(400, "input", f"the body is not valid JSON: {problem}", 'Send {"request_id": ..., "rating": "down"}') from None
        try:
            return heard_json(self._desk.give(rating, self._key(request), self._clock_ns()))
        except NotYours:
            text = f"there is no request `{rating.request_id[:60]}` of this caller"
            hint = "The id is in the `penstock-request-id` header of its answer, and can be rated once the answer is complete"
            raise Refusal(404, "input", text, hint, code="request_not_found", param="request_id") from None
        except (StoreError, JournalError, AnswerStoreError) as problem:
            refusal = Refusal(503, "upstream", f"the feedback cannot be taken now: {problem}", "Send it again in a moment")
            refusal.retry_after_s = 1
            raise refusal from None

    def _key(self, request: Request) -> ApiKey | None:
        """The caller's key; None without one of ours. Raises `Refusal`, `StoreError`."""
        secret = read_heads(request.headers).secret
        if secret is None or not secret.startswith(SECRET_PREFIX):
            return None
        key = self._desk.key_of(fingerprint(secret.decode("latin-1")))
        if key is None:
            raise Refusal(401, "auth", "this API key is unknown, expired or revoked", "Make one with `penstock keys create`")
        return key
