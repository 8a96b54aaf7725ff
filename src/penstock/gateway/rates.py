"""Rate limits: requests and tokens over a time, requests at once; the headers that tell clients of them, and the 429 beyond."""

import time
from collections.abc import Sequence
from typing import Final

from penstock.domain.dialects.content import output_bound, text_bytes
from penstock.domain.dialects.usage import estimate_tokens
from penstock.domain.ledger.interrupted import LIKELY_OUTPUT
from penstock.domain.ledger.record import UsageRecord
from penstock.gateway.accounts import Accounts
from penstock.gateway.exchange import Exchange
from penstock.gateway.purses import Purse, Purses, Short
from penstock.gateway.refusal import Refusal, for_anthropic, too_busy
from penstock.wire.message import Headers

_SECOND_NS: Final = 10**9
_WORDS: Final = {"requests": "requests", "tokens": "tokens", "concurrent": "requests at once"}
_SHOWN: Final = ("requests", "tokens")


class Rates:
    """The rate limits of one worker."""

    def __init__(self, accounts: Accounts, purses: Purses) -> None:
        self._accounts, self._purses = accounts, purses

    async def admit(self, x: Exchange) -> None:
        """Takes one request, and the tokens it is likely to use, of every limit that it falls under. Raises `Refusal` (limit)."""
        x.rates = self._accounts.purses_of(x, x.target.candidates if x.target is not None else ())
        if not x.rates:
            return
        outcome = await self._purses.take([(purse, _amount(x, purse)) for purse in x.rates])
        if isinstance(outcome, Short):
            raise await self._too_fast(outcome)
        x.rated = outcome

    def settle(self, x: Exchange, record: UsageRecord) -> None:
        """The tokens are what was used; what was under way no longer is."""
        tokens = record.tokens.total + record.recalled.total
        used = {"requests": 1, "tokens": tokens, "concurrent": 0}
        self._purses.settle(x.rated, [used[purse.account.law.unit] for purse, _ in x.rated])

    async def _too_fast(self, short: Short) -> Refusal:
        account, law = short.purse.account, short.purse.account.law
        again_ns = await self._purses.retry_at_ns(short.purse, short.need) if law.rolling_ns is not None else None
        wait_s = 1 if again_ns is None else max(1, -(-(again_ns - time.time_ns()) // _SECOND_NS))
        return too_busy(f"the limit `{account.name}` is {account.text} {_WORDS[law.unit]}", f"Try again in {wait_s} s", wait_s)


def _amount(x: Exchange, purse: Purse) -> int:
    """What a request takes of a limit: more than the whole limit nobody can."""
    return min(_likely_tokens(x), purse.account.law.amount) if purse.account.law.unit == "tokens" else 1


def _likely_tokens(x: Exchange) -> int:
    if x.body is None:
        return 0
    asked = output_bound(x.body, LIKELY_OUTPUT) if x.endpoint != "embeddings" else 0
    return estimate_tokens(text_bytes(x.body)) + (asked or 0)


def rate_headers(x: Exchange) -> Headers:
    """`x-ratelimit-*` of the tightest limit in requests and of that in tokens, as OpenAI words them, and as Anthropic does for its SDKs."""
    headers: Headers = []
    for unit in _SHOWN:
        purse = _tightest(x.rates, unit)
        if purse is None:
            continue
        law = purse.account.law
        left, whole = max(0, min(law.amount, purse.room + (purse.left or 0))), (law.rolling_ns or 0) // _SECOND_NS
        told = ((b"limit", b"%d" % law.amount), (b"remaining", b"%d" % left))
        headers += [(b"x-ratelimit-%b-%b" % (name, unit.encode()), value) for name, value in told]
        headers.append((b"x-ratelimit-reset-%b" % unit.encode(), b"%ds" % whole))
        if for_anthropic(x.request):
            headers += [(b"anthropic-ratelimit-%b-%b" % (unit.encode(), name), value) for name, value in told]
            reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(x.admitted_ns // _SECOND_NS + whole))
            headers.append((b"anthropic-ratelimit-%b-reset" % unit.encode(), reset.encode()))
    return headers


def _tightest(purses: Sequence[Purse], unit: str) -> Purse | None:
    alike = [purse for purse in purses if purse.account.law.unit == unit]
    return min(alike, key=lambda purse: (purse.room + (purse.left or 0)) / purse.account.law.amount, default=None)
