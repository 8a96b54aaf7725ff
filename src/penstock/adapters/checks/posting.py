"""Checks at addresses of users: a POST of JSON, answered with `{"pass": true}` or `{"score": 0.9}`. No redirect is followed."""

import asyncio
import ssl
from urllib.parse import urlsplit

import orjson

from penstock.domain.routing.signals.trials import LONGEST, Passed, Trial
from penstock.ports.checks import CheckError
from penstock.wire.client import Address, Pool, Timeouts, WireError

_MOST_READ = 64 * 1024
_SHOWN = 120


class Posts:
    """Addresses with their connections. To be made within a running loop."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}

    async def ask(self, trial: Trial, timeout_s: float) -> Passed:
        """What the address of a trial says. Raises `CheckError`."""
        url = urlsplit(trial.setting)
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
        except ValueError:
            port = None
        if url.scheme not in ("http", "https") or not url.hostname or port is None or not trial.setting.isascii():
            raise CheckError(f"`{trial.setting[:_SHOWN]}` is no http(s) address")
        pool = self._pools.get(url.scheme + url.netloc)
        if pool is None:
            tls = ssl.create_default_context() if url.scheme == "https" else None
            pool = Pool(Address(url.hostname, port, tls), Timeouts(timeout_s, timeout_s, timeout_s), _MOST_READ)
            self._pools[url.scheme + url.netloc] = pool
        body = orjson.dumps({"question": trial.question[:LONGEST], "answer": trial.answer[:LONGEST], "tags": trial.tags})
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return _passed(*await _post(pool, url.netloc.rpartition("@")[2], path, body, timeout_s))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()


async def _post(pool: Pool, host: str, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    try:
        async with asyncio.timeout(timeout_s):
            answer = await pool.send(head.encode() + body, first_s=timeout_s)
            try:
                return answer.status, await answer.read()
            finally:
                answer.close()
    except TimeoutError:
        raise CheckError(f"it took longer than {timeout_s:g} s", hangs=True) from None
    except WireError as error:
        raise CheckError(str(error).replace("the upstream", "the check"), hangs=error.kind == "timeout") from None


def _passed(status: int, body: bytes) -> Passed:
    if not 200 <= status < 300:
        raise CheckError(f"it answered {status}")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CheckError("it answered no JSON") from None
    verdict, score = (said.get("pass"), said.get("score")) if isinstance(said, dict) else (None, None)
    if isinstance(score, bool) or (score is not None and not isinstance(score, int | float)) or (score is not None and not 0 <= score <= 1):
        raise CheckError("its `score` is no number from 0 to 1")
    if not isinstance(verdict, bool) and score is None:
        raise CheckError("it answered neither `pass` nor `score`")
    reason = said.get("reason")
    return Passed(verdict is not False, reason[:_SHOWN] if isinstance(reason, str) else "", None if score is None else float(score))
