"""One POST of JSON to a hook. A proxy of the environment (`HTTPS_PROXY`, `NO_PROXY`) is used; no redirect is followed: it would carry
the message to where nobody sent it, and as a GET without it."""

import email.utils
import http.client
import json
import time
from collections.abc import Mapping
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from penstock import __version__
from penstock.adapters.notify.masking import masked
from penstock.ports.notifier import NotifyError

TIMEOUT_S = 8.0
"""of each step of the connection; the outbox waits 10 s for the whole"""
_MOST_READ = 2000
_SHOWN = 200
_PASSING = (408, 425, 429)
"""statuses below 500 that may be gone at the next try"""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        """None: the redirect itself is the answer."""


class Hook:
    """An http(s) address that takes JSON."""

    def __init__(self, address: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Raises `NotifyError` for what is no such address."""
        try:
            parts = urlsplit(address)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        printable = address.isascii() and address.isprintable() and " " not in address
        if parts.scheme not in ("http", "https") or not parts.hostname or not printable or "@" in parts.netloc:
            hint = "write it like `https://host/path`, without a name and password before the host"
            raise NotifyError("that is no http(s) address", hint, retry=False)
        self.host = parts.hostname
        self._address, self._timeout_s = address, timeout_s

    def post(self, payload: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Returns after a status below 300. Raises `NotifyError`."""
        sent = {"content-type": "application/json", "user-agent": f"penstock/{__version__}", **headers}
        request = Request(self._address, json.dumps(payload).encode(), sent, method="POST")  # noqa: S310  checked in __init__
        opener: OpenerDirector = build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(_MOST_READ)
        except HTTPError as problem:
            raise self._refused(problem) from None
        except TimeoutError:
            raise self._away(f"no answer within {self._timeout_s:g} s") from None
        except (URLError, OSError, http.client.HTTPException) as problem:
            reason = problem.reason if isinstance(problem, URLError) else problem
            if isinstance(reason, TimeoutError):
                raise self._away(f"no answer within {self._timeout_s:g} s") from None
            text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise self._away(f"no answer: {text.lower()}") from None

    def _away(self, text: str) -> NotifyError:
        return NotifyError(f"{self.host}: {masked(text, self._address, self.host)}", "start it, or correct the address")

    def _refused(self, problem: HTTPError) -> NotifyError:
        with problem:
            try:
                body = problem.read(_MOST_READ).decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                body = ""
        code, said = problem.code, masked(" ".join(body.split()), self._address, self.host)[:_SHOWN]
        text = f"{self.host} answered {code}" + (f": {said}" if said else "")
        if 300 <= code < 400:
            return NotifyError(f"{text}: it sends its callers elsewhere", "name that address instead", retry=False)
        if code >= 500 or code in _PASSING:
            return NotifyError(text, "look into its log", after_s=_after_s(problem.headers.get("retry-after")))
        return NotifyError(text, "is the address complete, and still valid?", retry=False)


def _after_s(text: str | None) -> float | None:
    """Seconds of a `retry-after`, which is a number or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
