"""What people say of anomalies: `POST /anomalies/{id}/feedback`, as JSON or from the form of a page."""

import time
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

import msgspec

from penstock.console.posting import FORM, Table, kind_of
from penstock.console.replies import Reply, Writer
from penstock.finops.anomalies.book import AnomalyBook, Verdict
from penstock.finops.anomalies.feedback import give_feedback
from penstock.finops.anomalies.words import anomaly_json
from penstock.ports.audit_log import AuditLog
from penstock.ports.usage_store import StoreError
from penstock.wire.message import Request

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
