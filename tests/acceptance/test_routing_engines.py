"""Cascades and gates over real engines: two llama.cpp servers with models of different size, asked by the official SDKs.

Random weights are right about nothing, so what is tested is the way, not the quality: which engine answers follows from the probabilities
that the small one tells, the client sees nothing of them, and the ledger has every call to the nano-dollar.
"""

import http.client
import json
import math
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import openai
import pytest

from tests.acceptance.serving import Serving, serving, wait_until
from tests.conftest import service_missing

if TYPE_CHECKING:
    from tests.engines.llama import Engine

pytestmark = pytest.mark.engine
QUESTIONS = (
    "What does the gate do?",
    "Who closes the valve at night?",
    "Is the water cold?",
    "Name the price of steel.",
    "How deep is the lake?",
    "Where does the river end?",
    "Why does the dam hold?",
    "What is light?",
)
LONGEST = 200
LIMIT = "0.1"
"""USD a day, for requests of the feature `left`"""
SHORT = 5
"""tokens: of so short an answer the least sure one decides"""
MARGIN = 0.004
"""between a confidence and the border, so that the engine's prompt cache, which changes the last digits, cannot move one across"""
PRICES = {"small": (100, 400), "twin": (300, 1200), "large": (3000, 12000), "going": (100, 400)}
"""nano-USD per token: input and output"""
SERVED = {"small": "smaller", "twin": "smaller", "large": "larger", "going": "smaller"}
"""what each tier's engine runs"""
TABLES = """
[cache]
exact = {{ enabled = false }}
[routes.cascade]
strategy = "cascade"
tiers = ["small", "large"]
confidence = {border}
[routes.alike]
strategy = "gate"
tiers = ["small", "twin", "large"]
[routes.unlike]
strategy = "gate"
tiers = ["small", "large", "twin"]
[routes.shaky]
strategy = "cascade"
tiers = ["going", "large"]
confidence = 0.01
[[budgets]]
name = "left"
limit = "{limit} USD / day"
at_limit = "refuse"
where = {{ feature = "left" }}
"""


def tables(urls: dict[str, str], border: float) -> str:
    """Config of four tiers on engines at these addresses."""
    parts = [TABLES.format(border=border, limit=LIMIT)]
    speaks = 'speaks = ["chat", "responses", "messages"]\nretries = 0'
    parts += [f'[upstreams.{name}]\nbase_urls = ["{url}"]\n{speaks}\n' for name, url in urls.items()]
    for name, (paid_in, paid_out) in PRICES.items():
        upstream = name if name in urls else "small"
        parts.append(
            f'[models.{name}]\nupstream = "{upstream}"\nname = "{SERVED[name]}-llama"\nmax_output = 256\n'
            f'price = {{ input = {paid_in / 1000}, output = {paid_out / 1000} }}\n[tiers.{name}]\nmodel = "{name}"\n'
        )
    return "".join(parts)


class Direct(NamedTuple):
    """What the small engine says itself, asked without Penstock."""

    text: str
    confidence: float
    """geometric mean of the probabilities of its tokens; the least of them where it is short"""


class Rig(NamedTuple):
    penstock: Serving
    small: "Engine"
    going: "Engine"
    direct: dict[str, Direct]
    border: float
    """confidence from which on the cascade keeps an answer"""

    def sure(self) -> list[str]:
        return [question for question, direct in self.direct.items() if direct.confidence > self.border + MARGIN]

    def unsure(self) -> list[str]:
        return [question for question, direct in self.direct.items() if direct.confidence < self.border - MARGIN]

    def openai(self, feature: str) -> openai.OpenAI:
        headers = {"penstock-tag-feature": feature}
        return openai.OpenAI(base_url=self.penstock.base_url, api_key="none", max_retries=0, timeout=30, default_headers=headers)

    def anthropic(self, feature: str) -> anthropic.Anthropic:
        headers = {"penstock-tag-feature": feature}
        return anthropic.Anthropic(base_url=self.penstock.address, api_key="none", max_retries=0, timeout=30, default_headers=headers)


class Told(NamedTuple):
    """What a client got."""

    headers: Any
    engine: str
    text: str
    input: int
    output: int
    cost_usd: str
    """as the client is told"""
    raw: str = ""
    """all that came, as JSON"""

    @property
    def route(self) -> str:
        return str(self.headers["penstock-route"])

    @property
    def id(self) -> str:
        return str(self.headers["penstock-request-id"])


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    try:
        from tests.engines.llama import started
    except ImportError as error:
        service_missing("the llama.cpp engine", error)
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp
        small, going = (stack.enter_context(started(folder(name), "smaller")) for name in ("small", "going"))
        large = stack.enter_context(started(folder("large"), "larger"))
        direct = {question: _direct(small.base_url, question) for question in QUESTIONS}
        border = _border([each.confidence for each in direct.values()])
        urls = {"small": small.base_url, "large": large.base_url, "going": going.base_url}
        penstock = stack.enter_context(serving(folder("penstock"), tables(urls, border)))
        yield Rig(penstock, small, going, direct, border)


def _direct(url: str, question: str) -> Direct:
    asked = {"model": "smaller-llama", **_asked(question), "logprobs": True, "top_logprobs": 5}
    call = urllib.request.Request(f"{url}/chat/completions", json.dumps(asked).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(call, timeout=30) as came:
        (choice,) = json.load(came)["choices"]
    assert choice["finish_reason"] == "stop", "a seed was chosen with which its turns end"
    logs = [token["logprob"] for token in choice["logprobs"]["content"] if token["token"]]  # without the end of the turn
    return Direct(choice["message"]["content"], math.exp(min(logs) if len(logs) <= SHORT else sum(logs) / len(logs)))


def _border(confidences: list[float]) -> float:
    """The middle of the widest gap that has at least two on both sides."""
    ranked = sorted(confidences)
    _, border = max((high - low, (high + low) / 2) for low, high in pairwise(ranked[1:-1]))
    return border


def _asked(question: str) -> Any:
    return {"messages": [{"role": "user", "content": question}], "max_tokens": LONGEST, "temperature": 0}


def _asked_of_anthropic(question: str) -> Any:
    """Its SDK knows no temperature any more, but sends what it is told."""
    return {"messages": [{"role": "user", "content": question}], "max_tokens": LONGEST, "extra_body": {"temperature": 0}}


def ask_openai(rig: Rig, model: str, question: str, *, streamed: bool, feature: str) -> Told:
    with rig.openai(feature) as client:
        if not streamed:
            raw = client.chat.completions.with_raw_response.create(model=model, **_asked(question))
            answer = raw.parse()
            (choice,) = answer.choices
            assert answer.usage is not None and choice.logprobs is None
            return Told(
                raw.headers,
                answer.model,
                choice.message.content or "",
                answer.usage.prompt_tokens,
                answer.usage.completion_tokens,
                raw.headers["penstock-cost-usd"],
                raw.text,
            )
        with client.chat.completions.with_streaming_response.create(
            model=model, **_asked(question), stream=True, stream_options={"include_usage": True}
        ) as came:
            chunks = list(came.parse())
    assert all(choice.logprobs is None for chunk in chunks for choice in chunk.choices)
    usage = chunks[-1].usage
    assert usage is not None
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    whole = "".join(chunk.model_dump_json() for chunk in chunks)
    return Told(came.headers, chunks[0].model, text, usage.prompt_tokens, usage.completion_tokens, _told_cost(chunks[-1]), whole)


def ask_anthropic(rig: Rig, model: str, question: str, *, streamed: bool, feature: str) -> Told:
    with rig.anthropic(feature) as client:
        if not streamed:
            raw = client.messages.with_raw_response.create(model=model, **_asked_of_anthropic(question))
            message = raw.parse()
            headers: Any = raw.headers
            cost = headers["penstock-cost-usd"]
        else:
            with client.messages.stream(model=model, **_asked_of_anthropic(question)) as events:
                (cost,) = [_told_cost(event) for event in events if event.type == "message_delta"]
                message = events.get_final_message()
                headers = events.response.headers
    text = "".join(block.text for block in message.content if block.type == "text")
    usage = message.usage
    return Told(headers, message.model, text, usage.input_tokens + (usage.cache_read_input_tokens or 0), usage.output_tokens, cost)


def _told_cost(event: Any) -> str:
    return str(event.model_extra["penstock"]["cost_usd"])


def nano(usd: str) -> int:
    return int(Decimal(usd) * 10**9)


def price(tier: str, tokens_in: int, tokens_out: int) -> int:
    """Nano-USD."""
    return tokens_in * PRICES[tier][0] + tokens_out * PRICES[tier][1]


def check_money(explained: dict[str, Any], answer: Told, tier: str) -> int:
    """Every line of a request costs its tokens at its tier's price, and all of them are what the client was told. Nano-USD."""
    own = price(tier, answer.input, answer.output)
    assert (explained["tier"], explained["cost_basis"], nano(explained["cost_usd"])) == (tier, "measured", own)
    beside = 0
    for line in explained["asides"]:
        assert nano(line["cost_usd"]) == price(line["tier"], line["input_tokens"], line["output_tokens"]) > 0
        beside += nano(line["cost_usd"])
    assert (nano(explained["in_all_usd"]), explained["in_all_unknown"]) == (own + beside, 0)
    assert nano(answer.cost_usd) == own + beside
    return own + beside


def purposes(explained: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["purpose"], line["tier"]) for line in explained["asides"]]


def report(rig: Rig, feature: str) -> dict[str, Any]:
    """The rows of a feature by what calls were made for; requests themselves under None."""
    rows = rig.penstock.cost("--by", "purpose", "--where", f"feature={feature}")["rows"]
    return {row["purpose"]: row for row in rows}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_cascade_goes_by_the_probabilities_that_the_engine_tells(rig: Rig, streamed: bool) -> None:
    feature, spent, drafts = f"cascade-{streamed}", 0, 0
    assert len(rig.sure()) >= 2 and len(rig.unsure()) >= 2
    for question in (*rig.sure(), *rig.unsure()):
        direct, is_sure = rig.direct[question], question in rig.sure()
        answer = ask_openai(rig, "cascade", question, streamed=streamed, feature=feature)
        assert (answer.route, answer.engine) == (("small", "smaller-llama") if is_sure else ("small>large", "larger-llama"))
        assert answer.headers["penstock-tier"] == ("small" if is_sure else "large")
        assert '"logprob"' not in answer.raw and answer.text.strip()
        explained = rig.penstock.explain(answer.id)
        (stage, *rest) = explained["route_decision"]["stages"]
        sign = next(sign for sign in stage["signs"] if sign["name"] == "logprobs")
        assert sign["value"] == pytest.approx(direct.confidence, abs=MARGIN / 2)
        assert (stage["kind"], stage["stratum"], stage.get("kept")) == ("cascade", "confident" if is_sure else "unsure", is_sure)
        if is_sure:
            assert answer.text == direct.text and rest == [] and explained["asides"] == []
        else:
            assert rest[0]["tiers"] == ["large"] and purposes(explained) == [("draft", "small")]
            assert rig.penstock.explain(explained["asides"][0]["id"])["parent"] == answer.id
            drafts += 1
        spent += check_money(explained, answer, "small" if is_sure else "large")
    rows = report(rig, feature)
    assert {purpose: row["requests"] for purpose, row in rows.items()} == {None: len(rig.sure()) + len(rig.unsure()), "draft": 0}
    assert sum(nano(row["cost_usd"]) for row in rows.values()) == spent
    assert rows["draft"]["asides"] == drafts


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_client_that_asks_for_probabilities_gets_its_own(rig: Rig, streamed: bool) -> None:
    with rig.openai("own") as client:
        if streamed:
            chunks = list(
                client.chat.completions.create(model="cascade", **_asked(rig.sure()[0]), logprobs=True, top_logprobs=2, stream=True)
            )
            told = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs is not None]
            tokens = [token for each in told for token in each.content or ()]
        else:
            answer = client.chat.completions.create(model="cascade", **_asked(rig.sure()[0]), logprobs=True, top_logprobs=2)
            assert answer.choices[0].logprobs is not None
            tokens = answer.choices[0].logprobs.content or []
    assert tokens and {len(token.top_logprobs) for token in tokens} == {2}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ask", [ask_openai, ask_anthropic], ids=["openai", "anthropic"])
def test_a_gate_keeps_what_two_tiers_say_alike(rig: Rig, ask: Any, streamed: bool) -> None:
    feature, question, spent = f"gate-{ask.__name__}-{streamed}", rig.unsure()[0], 0
    alike = ask(rig, "alike", question, streamed=streamed, feature=feature)
    assert (alike.route, alike.engine, alike.text) == ("small+twin", "smaller-llama", rig.direct[question].text)
    explained = rig.penstock.explain(alike.id)
    (stage,) = explained["route_decision"]["stages"]
    assert (stage["kind"], stage["tiers"], stage["stratum"], stage["kept"]) == ("gate", ["small", "twin"], "agree", True)
    assert purposes(explained) == [("vote", "twin")]
    spent += check_money(explained, alike, "small")

    unlike = ask(rig, "unlike", question, streamed=streamed, feature=feature)
    assert (unlike.route, unlike.engine, unlike.text) == ("small+large>twin", "smaller-llama", rig.direct[question].text)
    explained = rig.penstock.explain(unlike.id)
    assert explained["route_decision"]["stages"][0]["stratum"] == "differ"
    assert sorted(purposes(explained)) == [("draft", "small"), ("vote", "large")]
    spent += check_money(explained, unlike, "twin")
    rows = report(rig, feature)
    assert {purpose: (row["requests"], row["asides"]) for purpose, row in rows.items()} == {
        None: (2, 0), "vote": (0, 2), "draft": (0, 1)
    }  # fmt: skip
    assert sum(nano(row["cost_usd"]) for row in rows.values()) == spent


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_tells_no_probabilities_is_not_trusted(rig: Rig, streamed: bool) -> None:
    """Anthropic's dialect has none."""
    answer = ask_anthropic(rig, "cascade", rig.sure()[0], streamed=streamed, feature="untold")
    assert (answer.route, answer.engine) == ("small>large", "larger-llama")
    explained = rig.penstock.explain(answer.id)
    stage = explained["route_decision"]["stages"][0]
    assert (stage["stratum"], stage.get("confidence")) == ("unsure", None)
    assert {"name": "logprobs", "said": "no logprobs"} in stage["signs"]
    check_money(explained, answer, "large")


def test_a_client_that_leaves_before_the_verdict_leaves_nothing_held(rig: Rig) -> None:
    penstock, question = rig.penstock, rig.sure()[0]
    with rig.small.paused():
        connection = http.client.HTTPConnection("127.0.0.1", penstock.port, timeout=30)
        headers = {"content-type": "application/json", "penstock-tag-feature": "left"}
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "cascade", "stream": True, **_asked(question)}), headers)
        wait_until(lambda: penstock.metric("penstock_upstream_outstanding") == 1, "the engine to be asked")
        connection.close()
        wait_until(lambda: penstock.metric("penstock_requests_in_flight") == 0, "Penstock to notice")
        wait_until(lambda: penstock.metric("penstock_upstream_outstanding") == 0, "the call to be given up")
    rows = {row["purpose"]: row for row in penstock.cost("--by", "purpose,outcome,cost_basis", "--where", "feature=left")["rows"]}
    assert {purpose: (row["outcome"], row["requests"], row["asides"]) for purpose, row in rows.items()} == {
        None: ("client_closed", 1, 0), "draft": ("client_closed", 0, 1)
    }  # fmt: skip
    assert (nano(rows[None]["cost_usd"]), rows["draft"]["unpriced_asides"], rows["draft"]["cost_basis"]) == (0, 0, "estimated")
    lost = nano(rows["draft"]["cost_usd"])
    assert lost > 0, "the engine may have worked for it: what that cost is estimated, not forgotten"
    after = ask_openai(rig, "cascade", question, streamed=False, feature="left")
    spent = lost + check_money(penstock.explain(after.id), after, "small")
    assert nano(after.headers["penstock-budget-left-usd"]) == nano(LIMIT) - spent, "nothing is held any more"


def test_an_engine_that_is_gone_is_left_behind_and_named(rig: Rig) -> None:
    question = rig.sure()[0]
    before = ask_openai(rig, "shaky", question, streamed=False, feature="going")
    assert (before.route, before.engine) == ("going", "smaller-llama")
    rig.going.stop()
    spent = 0
    for ask in (ask_openai, ask_anthropic):
        for streamed in (False, True):
            answer = ask(rig, "shaky", question, streamed=streamed, feature="gone")
            assert (answer.route, answer.engine) == ("going>large", "larger-llama")
            explained = rig.penstock.explain(answer.id)
            failed, direct = explained["route_decision"]["stages"]
            assert (failed["tiers"], failed["stratum"], failed.get("kept", False)) == (["going"], "failed", False)
            assert failed["signs"][0]["name"] == "upstream" and failed["signs"][0]["fails"]
            assert (direct["tiers"], direct["kept"]) == (["large"], True)
            assert [(each["upstream"], each.get("error")) for each in explained["attempts"]] == [("going", "connect"), ("large", None)]
            spent += check_money(explained, answer, "large")
            assert explained["asides"] == [], "nobody worked for it"
    rows = report(rig, "gone")
    assert {purpose: (row["requests"], row["failed"], nano(row["cost_usd"])) for purpose, row in rows.items()} == {None: (4, 0, spent)}
