"""Answers that show how sure their tokens were, a route that judges them, and what its record says of it."""

from collections.abc import Sequence
from math import log
from typing import Any

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged, Sign
from tests.integration.gateway_rig import Rig
from tests.integration.upstream_rig import Scripted, answer, completion
from tests.integration.walking_rig import ladder

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
FORMAT: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}}
CHECK = '[checks.digits]\nkind = "regex"\npattern = "^[0-9]+$"\n'
LONG = "The capital city of that country lies on the river Seine, as everybody knows by now."
OTHER = "It is on the Seine that you will find what is the capital of this land, that is well known."
TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]}
LARGE = answer(completion("the large one's"))
REFUSED = answer(
    {"error": {"message": "logprobs are not supported", "type": "invalid_request_error", "param": "logprobs", "code": None}}, 400
)


def odds(*probabilities: float, words: Sequence[str] = ()) -> dict[str, Any]:
    tokens: list[dict[str, Any]] = [
        {"token": words[at] if at < len(words) else "x", "logprob": log(each), "bytes": None, "top_logprobs": []}
        for at, each in enumerate(probabilities)
    ]
    return {"content": tokens, "refusal": None}


def told(text: str = "4", sure: float | None = 0.99, reason: str = "stop", **message: Any) -> bytes:
    """An answer, and how sure its tokens were."""
    body = completion(text, reason=reason)
    body["choices"][0]["logprobs"] = None if sure is None else odds(*[sure] * 8)
    body["choices"][0]["message"].update(message)
    return answer(body)


def config(small: Scripted | str, large: Scripted, route: str = "", more: str = "", **given: Any) -> str:
    url = small if isinstance(small, str) else small.url
    return ladder(url, given.pop("mid", url), large.url, route=route, more=more, **given)


def stage(running: Rig) -> Judged:
    decision = running.last.route_decision
    assert decision is not None
    return decision.stages[0]


def signs(running: Rig) -> dict[str, Sign]:
    return {sign.name: sign for sign in stage(running).signs}


def asides(running: Rig) -> list[UsageRecord]:
    return [record for record in running.records if record.purpose is not None]


VERIFIER = '[checks.second]\nkind = "verifier"\nmodel = "mid-model"\n'


def says(word: str, yes: float | None) -> bytes:
    body = completion(word)
    if yes is not None:
        rivals = [{"token": token, "logprob": log(each)} for token, each in (("Yes", yes), ("No", 1 - yes))]
        body["choices"][0]["logprobs"] = {"content": [{"token": word, "logprob": log(max(yes, 1 - yes)), "top_logprobs": rivals}]}
    return answer(body)
