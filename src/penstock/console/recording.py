"""`POST /records`: training runs and other costs, told over HTTP in the words of `penstock record`. Programs do this, never web pages."""

from collections.abc import Callable, Sequence

import msgspec

from penstock.console.posting import Table
from penstock.console.replies import Reply, Writer
from penstock.finops.recording import Recorded, RecordingError, Told, entry_json, told_of
from penstock.ports.journal import JournalError
from penstock.ports.usage_store import StoreError
from penstock.wire.message import Request

PATH = "/records"
Record = Callable[[Told], Recorded]
Noted = Callable[[Recorded, Request], None]


def record_posts(record: Record, noted: Noted = lambda done, request: None) -> Table:
    """`noted` hears of what was recorded anew, for the audit log; it may raise `StoreError`."""

    def told(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        """Records what the body tells and answers with the entry: 201, or 200 when it was there."""
        try:
            done = record(told_of(request.body))
            if done.new:
                noted(done, request)
        except RecordingError as problem:
            return writer.problem(409 if problem.conflict else 400, str(problem), problem.hint, html=False)
        except (StoreError, JournalError) as problem:
            return writer.problem(503, str(problem), problem.hint, html=False)
        body = msgspec.json.encode({"recorded": done.new, "entry": entry_json(done.entry), "notes": done.notes})
        return writer.data(201 if done.new else 200, body)

    return {PATH: told}
