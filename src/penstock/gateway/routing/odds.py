"""Asking a tier that is judged for the probabilities of its tokens, which its client does not see."""

from typing import Final

from penstock.domain.dialects.splice import SpliceError, ask_for_logprobs, blank_logprobs
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.targets import Candidate

TOP: Final = 5
"""likeliest tokens that are asked for at each place: as many as every known server gives"""
REFUSING: Final = (400, 422)
"""statuses by which an upstream may mean that it does not tell them"""
_JUDGED: Final = ("draft", "sample", "shadow")


def asks_logprobs(gateway: Gateway, x: Exchange, candidate: Candidate) -> bool:
    """Whether a call is to ask for them beside what its client asks: it is one that is judged, in chat completions."""
    return _for_us(x) and gateway.speech.tells_logprobs(candidate.upstream, candidate.upstream_model)


def with_logprobs(body: bytes) -> bytes:
    return ask_for_logprobs(body, TOP)


def hidden(x: Exchange, answer: bytes, streamed: bool) -> bytes:
    """An answer, or events of its stream, as its client may see it: without probabilities that only we have asked for."""
    if not _for_us(x) or b'"logprobs"' not in answer:
        return answer
    try:
        return b"\n".join(_line(line) for line in answer.split(b"\n")) if streamed else blank_logprobs(answer)
    except SpliceError:
        return answer


def hide(x: Exchange) -> None:
    """Takes them out of the answer that a judged call has brought, and out of what the cache may keep of it."""
    if not _for_us(x) or x.answer is None:
        return
    x.answer.body = hidden(x, x.answer.body, x.streamed)
    x.kept = None if x.kept is None else hidden(x, x.kept, True)


def _for_us(x: Exchange) -> bool:
    """Whether probabilities in the answer of a call are for us alone."""
    route = x.target.route if x.target is not None else None
    if x.purpose not in _JUDGED or x.endpoint != "chat.completions" or x.body is None or route is None or not route.logprobs:
        return False
    return x.called_at is None and not x.body.get("logprobs")


def _line(line: bytes) -> bytes:
    return line[:6] + blank_logprobs(line[6:]) if line.startswith(b"data: {") and b'"logprobs"' in line else line
