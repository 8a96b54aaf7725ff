"""Records training runs from Python: `with training_run("fine-tune-7b", gpus=8, fleet="h100") as run: ...`.

Standard library only, so that a training job needs nothing else of Penstock. Trouble is logged (`penstock.recording`) and never
breaks the training: what could not be delivered is written to a file that `penstock record import` takes.
"""

import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

URL = "http://127.0.0.1:4100"
ADMIN_KEY = "PENSTOCK_ADMIN"
TIMEOUT_S = 10.0
Amount = str | int | Decimal
"""USD or hours; text such as "3.10" is exact"""
_log = logging.getLogger(__name__)


def training_run(
    name: str,
    *,
    url: str = URL,
    key: str | None = None,
    tags: Mapping[str, str] | None = None,
    fleet: str | None = None,
    gpus: Amount | None = None,
    gpu_price: Amount | None = None,
    id: str | None = None,
    folder: str | os.PathLike[str] = ".",
    timeout_s: float = TIMEOUT_S,
) -> "TrainingRun":
    """A run to be recorded when its `with` block ends, whether it goes well or raises (then it gets the tag `outcome=failed`).

    `gpus` all the time on an own `fleet`, or rented at `gpu_price` USD per GPU-hour. `key`: the admin key; unset, the environment's
    `PENSTOCK_ADMIN`. `folder`: where `penstock-run-ID.json` is written when nobody takes the record.
    """
    body: dict[str, object] = {"kind": "training-run", "name": name, "id": id or f"run_{uuid.uuid4().hex}"}
    given = {"fleet": fleet, "gpus": gpus, "gpu_price": gpu_price}
    body |= {word: value if word == "fleet" else str(value) for word, value in given.items() if value is not None}
    run = TrainingRun(body, f"{url.rstrip('/')}/records", key, Path(folder), timeout_s)
    for tag, value in (tags or {}).items():
        run.tag(tag, value)
    return run


class TrainingRun:
    """One run. What is told of it adds up; nothing here raises."""

    def __init__(self, body: dict[str, object], address: str, key: str | None, folder: Path, timeout_s: float) -> None:
        self._body, self._address, self._key, self._folder, self._timeout_s = body, address, key, folder, timeout_s
        self._tags: dict[str, str] = {}
        self._begin_ns, self._begin_s = time.time_ns(), time.monotonic()

    @property
    def id(self) -> str:
        """The id of the entry: delivering it twice counts it once."""
        return str(self._body["id"])

    def __enter__(self) -> "TrainingRun":
        self._begin_ns, self._begin_s = time.time_ns(), time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.tag("outcome", "failed")
        self._deliver()

    def lost(self, gpu_hours: Amount) -> None:
        """GPU-hours of work that was lost (preemption, a crash) and is done again."""
        self._add("lost_gpu_hours", gpu_hours)

    def used(self, gpu_hours: Amount) -> None:
        """GPU-hours that it took, where that is not `gpus` all the time."""
        self._add("gpu_hours", gpu_hours)

    def storage(self, usd: Amount) -> None:
        """What checkpoints and data cost."""
        self._add("storage", usd)

    def transfer(self, usd: Amount) -> None:
        """What the network cost."""
        self._add("transfer", usd)

    def engineering(self, hours: Amount, rate: Amount) -> None:
        """Hours that people worked for it, and what one costs in USD; the last rate holds for all of them."""
        self._add("engineering_hours", hours)
        self._body["engineering_rate"] = str(rate)

    def tag(self, name: str, value: str) -> None:
        """A tag, as requests carry them."""
        self._tags[str(name)] = str(value)

    def _add(self, word: str, amount: Amount) -> None:
        """Adds up exactly. What is no number is kept as it was written, so that somebody can correct it in the file."""
        before = self._body.get(word)
        try:
            self._body[word] = str(Decimal(str(before or 0)) + Decimal(str(amount)))
        except ArithmeticError:
            self._body[word] = f"{before} + {amount}" if before else str(amount)
            _log.warning("run %s: `%s` is not a number (%s): the record will have to be corrected", self.id, amount, word)

    def _deliver(self) -> None:
        end_ns = self._begin_ns + max(int((time.monotonic() - self._begin_s) * 1e9), 1_000)
        self._body |= {"tags": self._tags, "since": _iso(self._begin_ns), "until": _iso(end_ns)}
        body = json.dumps(self._body, indent=2, default=str)
        try:
            self._post(body.encode())
        except HTTPError as problem:
            self._keep(body, f"{self._address} answered {problem.code}: {_told(problem)}")
        except (OSError, ValueError, HTTPException) as problem:
            self._keep(body, f"{self._address}: {problem}")

    def _post(self, body: bytes) -> None:
        if urlsplit(self._address).scheme not in ("http", "https"):
            raise ValueError("this is not an address: write it like http://127.0.0.1:4100")
        headers = {"content-type": "application/json", "accept": "application/json"}
        key = self._key if self._key is not None else os.environ.get(ADMIN_KEY)
        if key:
            headers["authorization"] = f"Bearer {key}"
        request = Request(self._address, body, headers, method="POST")  # noqa: S310 - the scheme was looked at
        with urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
            recorded = json.loads(answer.read())
        if not isinstance(recorded, dict) or "entry" not in recorded:
            raise ValueError("what answered is no Penstock")
        for note in recorded.get("notes", ()):
            _log.info("run %s: %s", self.id, note)

    def _keep(self, body: str, why: str) -> None:
        file = self._folder / f"penstock-run-{''.join(char if char.isalnum() or char in '._-' else '_' for char in self.id)}.json"
        try:
            file.write_text(body + "\n", "utf-8")
        except OSError as problem:
            _log.warning("run %s was not recorded (%s), nor could %s be written (%s): %s", self.id, why, file, problem, body)
        else:
            _log.warning("run %s was not recorded (%s): record it with `penstock record import %s`", self.id, why, file)


def _iso(instant_ns: int) -> str:
    """Microseconds, which is what the ledger's windows are read in."""
    return datetime.fromtimestamp(instant_ns // 10**9, UTC).replace(microsecond=instant_ns % 10**9 // 1000).isoformat()


def _told(problem: HTTPError) -> str:
    """What an error answer says."""
    text = ""
    try:
        text = problem.read(4096).decode("utf-8", "replace")
        error = json.loads(text)["error"]
        return f"{error['message']} ({error.get('hint') or 'no hint'})"
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return text[:200] or "nothing"
