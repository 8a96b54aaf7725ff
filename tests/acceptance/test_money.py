"""Every request on exactly one line, every dollar exact: headers, records and reports say the same, on either store."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.serving import Answer, Serving, serving
from tests.engines.recording import RecordingEngine, recording_engine

FRESH = {"penstock-cache": "no-store"}
TABLES = """
[upstreams.engine]
base_urls = ["{engine}"]
[models.small]
upstream = "engine"
max_output = 1000
price = {{ input = 0.15, cached_input = 0.075, output = 0.60 }}
[models.big]
upstream = "engine"
price = {{ input = 2.50, output = 10 }}
[models.dust]
upstream = "engine"
price = {{ input = 0.0005, output = 0.0005 }}
[models.vectors]
upstream = "engine"
price = {{ input = 0.02 }}
[models.mystery]
upstream = "engine"
[tiers]
small = {{ model = "small" }}
large = {{ model = "big", complexity = "> 0.7" }}
[routes.auto]
strategy = "by_complexity"
tiers = ["small", "large"]
"""


class Call(NamedTuple):
    """A request, the usage that its upstream tells, and what it must cost in USD (None: unknown)."""

    team: str
    model: str
    usage: dict[str, Any]
    cost: str | None
    more: dict[str, Any] | None = None


def usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if cached:
        told["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning:
        told["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return told


CALLS = [
    Call("a", "small", usage(1000, 200), "0.000270000"),  # 1000 x 0.15 + 200 x 0.60 = 270 USD per million
    Call("a", "small", usage(1000, 50, cached=400), "0.000150000"),  # 600 x 0.15 + 400 x 0.075 + 50 x 0.60 = 150
    Call("a", "big", usage(7, 3), "0.000047500"),  # 7 x 2.50 + 3 x 10 = 47.5
    Call("b", "big", usage(10, 20, reasoning=15), "0.000225000"),  # reasoning is within the 20: 25 + 200
    Call("b", "dust", usage(1, 0), "0.000000000"),  # half a nano-dollar: to the even one below
    Call("b", "dust", usage(3, 0), "0.000000002"),  # one and a half: to the even one above
    Call("b", "small", usage(100, 10), "0.000021000", {"stream": True, "stream_options": {"include_usage": True}}),
    Call("b", "small", usage(100, 10), "0.000021000", {"stream": True}),
    Call("b", "mystery", usage(100, 10), None),
    Call("c", "small", usage(33, 0), "0.000004950", {"n": 2}),
]
EXPECTED = {
    # team, model: requests, input, output, cost, what the large tier would have cost (2.50 and 10 USD per million)
    ("a", "small"): (2, 2000, 250, "0.000420000", "0.007500000"),
    ("a", "big"): (1, 7, 3, "0.000047500", "0.000047500"),
    ("b", "big"): (1, 10, 20, "0.000225000", "0.000225000"),
    ("b", "dust"): (2, 4, 0, "0.000000002", "0.000010000"),
    ("b", "small"): (2, 200, 20, "0.000042000", "0.000700000"),
    ("b", "mystery"): (1, 100, 10, None, None),  # compared is only what has both figures
    ("c", "small"): (1, 33, 0, "0.000004950", "0.000082500"),
}
TOTAL = (10, 2354, 303, "0.000739452", "0.008565000")


@pytest.fixture(scope="module")
def engine() -> Iterator[RecordingEngine]:
    with recording_engine() as running:
        yield running


@pytest.fixture(scope="module")
def penstock(engine: RecordingEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A Penstock for the tests that look at single requests; each works under a tag of its own."""
    with serving(tmp_path_factory.mktemp("money"), TABLES.format(engine=engine.base_url), baseline="large") as running:
        yield running


def send(penstock: Serving, call: Call) -> Answer:
    answer = penstock.chat(call.model, {"usage": call.usage}, headers={**FRESH, "penstock-tag-team": call.team}, **(call.more or {}))
    assert answer.status == 200
    return answer


def figures(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("requests", "input_tokens", "output_tokens", "cost_usd", "counterfactual_usd"))


@pytest.mark.parametrize(
    ("store", "workers"), [("sqlite", 1), ("sqlite", 2), pytest.param("postgres", 2, marks=pytest.mark.postgres)], ids=str
)
def test_the_report_is_exact_on_every_store(
    engine: RecordingEngine, tmp_path: Path, store: str, workers: int, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if store == "postgres" else "sqlite:///penstock.db"
    with serving(tmp_path, TABLES.format(engine=engine.base_url), baseline="large", store=url, workers=workers) as penstock:
        assert len(penstock.children("worker")) == workers
        answers = [send(penstock, call) for call in CALLS]
        report = penstock.cost("--by", "team,model")  # at once: what is not in the store yet is read from the journal
        rows = {(row["team"], row["model"]): row for row in report["rows"]}
        assert {keys: figures(row) for keys, row in rows.items()} == EXPECTED
        assert len(rows) == len(report["rows"])
        assert sum("penstock-cost-usd" in answer.headers for answer in answers) == 8, "on all but streams"
        for call, answer in zip(CALLS, answers, strict=True):
            if "penstock-cost-usd" in answer.headers:
                assert answer.headers["penstock-cost-usd"] == (call.cost or "unknown")
        assert figures(report["total"]) == TOTAL
        assert sum(Decimal(row["cost_usd"] or 0) for row in report["rows"]) == Decimal(report["total"]["cost_usd"])
        assert sum(Decimal(call.cost or 0) for call in CALLS) == Decimal(report["total"]["cost_usd"])
        assert report["coverage"]["unpriced_models"] == [{"model": "mystery", "requests": 1}]
        assert report["coverage"]["priced_share"] == 0.9
    after = penstock.cost("--by", "team,model")
    assert (after["rows"], after["total"]) == (report["rows"], report["total"]), "the same when nothing runs any more"
    assert after["coverage"]["journal_tail"] == 0, "all is in the store when it has ended"


def test_two_workers_under_load_count_every_request_once(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url), workers=2) as penstock:

        def ask(number: int) -> str:
            return penstock.chat("small", {"usage": usage(number, 1)}, headers=FRESH).headers["penstock-cost-usd"]

        with ThreadPoolExecutor(8) as threads:
            told = list(threads.map(ask, range(60)))
        total = penstock.cost()["total"]
        assert total["requests"] == 60
        assert total["input_tokens"] == sum(range(60))
        assert Decimal(total["cost_usd"]) == sum(map(Decimal, told)) == Decimal("0.0003015")  # 1770 x 0.15 + 60 x 0.60
        writers = {file.name.partition(".")[0] for file in (tmp_path / "journal").glob("*.jsonl")}
        assert len(writers) == 2


def test_header_record_and_explanation_agree(penstock: Serving) -> None:
    answer = send(penstock, Call("sums", "small", usage(1001, 7, cached=500), "0.000116850"))
    record = penstock.explain(answer.headers["penstock-request-id"])
    assert record["cost_usd"] == record["cost_sum"]["total_usd"] == answer.headers["penstock-cost-usd"] == "0.000116850"
    lines = record["cost_sum"]["lines"]
    assert [(line["token_class"], line["tokens"], line["usd_per_million"]) for line in lines] == [
        ("uncached_input", 501, "0.15"),
        ("cache_read", 500, "0.075"),
        ("visible_output", 7, "0.6"),
    ]
    assert sum(Decimal(line["amount_usd"]) for line in lines) + Decimal(record["cost_sum"]["rounding_usd"]) == Decimal("0.000116850")
    assert record["counterfactual_sum"]["total_usd"] == record["counterfactual_usd"] == "0.002572500"  # 1001 x 2.50 + 7 x 10
    shown = penstock.command("explain", record["id"]).stdout
    assert "0.000116850 USD (measured)" in shown
    assert penstock.cost("--where", "team=sums")["total"]["cost_usd"] == "0.000116850"


def test_the_cost_of_a_stream_stands_on_its_usage_chunk(penstock: Serving) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    answer = send(penstock, Call("streams", "small", usage(100, 10), "0.000021000", asked))
    assert "penstock-cost-usd" not in answer.headers
    assert answer.body.count(b'"penstock":{"cost_usd":"0.000021000"}') == 1
    on_choice = penstock.chat(
        "small", {"usage": usage(100, 10), "usage_on": "choice"}, headers={**FRESH, "penstock-tag-team": "streams"}, stream=True
    )
    assert b'"usage"' not in on_choice.body
    row = penstock.cost("--where", "team=streams")["total"]
    assert (row["requests"], row["estimated_requests"], row["cost_usd"]) == (2, 0, "0.000042000")


def test_a_replayed_answer_costs_nothing_and_says_what_it_saved(penstock: Serving) -> None:
    def ask(**more: Any) -> Answer:
        return penstock.chat("small", {"usage": usage(1000, 200)}, question="again?", headers={"penstock-tag-team": "cached"}, **more)

    first, again, streamed = ask(), ask(), ask(stream=True, stream_options={"include_usage": True})
    assert [each.headers["penstock-cache"] for each in (first, again, streamed)] == ["miss", "exact", "exact"]
    assert [first.headers["penstock-cost-usd"], again.headers["penstock-cost-usd"]] == ["0.000270000", "0.000000000"]
    assert again.body == first.body
    assert b'"penstock":{"cost_usd":"0.000000000"}' in streamed.body
    (row,) = penstock.cost("--by", "team", "--where", "team=cached")["rows"]
    assert figures(row) == (3, 1000, 200, "0.000270000", "0.013500000")  # the large tier would have answered all three
    assert (row["cache_hits"], row["recalled_tokens"]) == (2, {"input": 2000, "output": 400})
    record = penstock.explain(again.headers["penstock-request-id"])
    assert record["cache_source"] == first.headers["penstock-request-id"]
    assert sum(record["tokens"].values()) == 0
    assert (record["recalled"]["uncached_input"], record["recalled"]["visible_output"]) == (1000, 200)
    assert (record["cost_usd"], record["list_cost_usd"]) == ("0.000000000", "0.000270000")


def test_tags_by_strength(penstock: Serving) -> None:
    made = penstock.command("keys", "create", "--tag", "team=of-key", "--tag", "tenant=t1")
    assert made.returncode == 0, made.stderr
    bearer = {"authorization": f"Bearer {made.stdout.strip()}"}
    body = {"user": "of-user", "metadata": {"team": "of-metadata", "Cost-Center": "of-metadata", "sla-tier": "standard"}}
    header = {"penstock-tag-team": "of-header", "penstock-tag-feature": "precedence"}

    def tags(headers: dict[str, str], **more: Any) -> dict[str, str]:
        answer = penstock.chat("small", {"usage": usage(1, 1)}, headers=FRESH | headers, **more)
        assert answer.status == 200, answer.body
        found: dict[str, str] = penstock.explain(answer.headers["penstock-request-id"])["tags"]
        return found

    common = {"cost_center": "of-metadata", "feature": "precedence", "sla": "standard", "user": "of-user"}
    assert tags(header | bearer, **body) == common | {"team": "of-key", "tenant": "t1"}
    assert tags(header, **body) == common | {"team": "of-header"}
    del header["penstock-tag-team"]
    assert tags(header, **body, service_tier="priority") == common | {"team": "of-metadata"}
    assert tags({}, user="of-user", metadata={"user": "of-metadata"}, service_tier="priority") == {"user": "of-metadata", "sla": "critical"}
    rows = penstock.cost("--by", "team", "--where", "feature=precedence")["rows"]
    assert {row["team"] for row in rows} == {"of-key", "of-header", "of-metadata"}


def test_an_unknown_key_is_refused_and_costs_nothing(penstock: Serving, engine: RecordingEngine) -> None:
    before = len(engine.requests)
    answer = penstock.chat("small", headers={"authorization": "Bearer psk_" + "x" * 43, "penstock-tag-team": "stranger"})
    assert (answer.status, answer.headers["penstock-error"]) == (401, "auth")
    assert len(engine.requests) == before
    total = penstock.cost("--where", "model=unknown")["total"]
    assert total["cost_usd"] in ("0.000000000", None)


def test_complexity_picks_the_tier(penstock: Serving) -> None:
    hard = (
        "Prove step by step that this algorithm terminates, derive its complexity, then design a distributed architecture for it, "
        "analyse the trade-offs and refactor this code: def f(x): return x"
    )
    for question, tier, model, cost in (
        ("What is the capital of France?", "small", "small", "0.000021000"),
        (hard, "large", "big", "0.000350000"),
    ):
        answer = penstock.chat("auto", {"usage": usage(100, 10)}, question=question, headers=FRESH | {"penstock-tag-team": "routed"})
        told = {name: answer.headers[f"penstock-{name}"] for name in ("tier", "model", "route", "cost-usd")}
        assert told == {"tier": tier, "model": model, "route": tier, "cost-usd": cost}
        record = penstock.explain(answer.headers["penstock-request-id"])
        assert (record["strategy"], record["complexity"] > 0.7, record["requested_model"]) == ("by_complexity", tier == "large", "auto")
    rows = penstock.cost("--by", "tier", "--where", "team=routed")["rows"]
    assert [(row["tier"], row["cost_usd"]) for row in rows] == [("large", "0.000350000"), ("small", "0.000021000")]


ABSENT: dict[str, Any] = {}
NEGATIVE = {"usage": {"prompt_tokens": -100, "completion_tokens": 10, "total_tokens": -90}}
HUGE = {"usage": {"prompt_tokens": 2**60, "completion_tokens": 1, "total_tokens": 2**60 + 1}}
TEXT = {"usage": {"prompt_tokens": "100", "completion_tokens": 10, "total_tokens": 110}}


@pytest.mark.parametrize("reply", [ABSENT, NEGATIVE, HUGE, TEXT], ids=["absent", "negative", "huge", "text"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_usage_that_cannot_be_trusted_is_estimated_and_marked(penstock: Serving, reply: dict[str, Any], streamed: bool) -> None:
    answer = penstock.chat("small", reply, question="q" * 400, headers=FRESH, stream=streamed)
    assert answer.status == 200
    record = penstock.explain(answer.headers["penstock-request-id"])
    assert (record["tokens_basis"], record["cost_basis"]) == ("estimated", "estimated")
    tokens = record["tokens"]
    assert tokens["uncached_input"] >= 100, "400 bytes of question at four bytes a token"
    assert 0 < tokens["visible_output"] < 100
    nano = tokens["uncached_input"] * 150 + tokens["visible_output"] * 600
    assert record["cost_usd"] == f"0.{nano:09d}"
    assert bool(record["error"]) == bool(reply)


def test_estimates_are_counted_as_such(penstock: Serving) -> None:
    for reply in (ABSENT, NEGATIVE, {"usage": usage(10, 1)}):
        penstock.chat("small", reply, headers=FRESH | {"penstock-tag-team": "guessed"})
    report = penstock.cost("--where", "team=guessed")
    assert (report["coverage"]["requests"], report["coverage"]["estimated_requests"]) == (3, 2)
    assert report["total"]["input_tokens"] > 10


def test_failures_and_refusals_stand_beside_the_money(penstock: Serving) -> None:
    headers = FRESH | {"penstock-tag-team": "unlucky"}
    assert penstock.chat("small", {"status": 400, "body": '{"error":{"message":"no"}}'}, headers=headers).status == 400
    assert penstock.chat("smal", headers=headers).status == 404
    assert penstock.chat("small", {"status": 200, "body": '{"error":{"message":"overloaded"}}'}, headers=headers).status == 200
    embedded = penstock.request(
        "POST",
        "/v1/embeddings",
        {"model": "vectors", "input": "water", "reply": {"usage": {"prompt_tokens": 50, "total_tokens": 50}}},
        headers,
    )
    assert embedded.headers["penstock-cost-usd"] == "0.000001000"
    total = penstock.cost("--where", "team=unlucky")["total"]
    assert (total["requests"], total["refused"], total["failed"], total["cost_usd"]) == (3, 1, 2, "0.000001000")


def test_unpriced_models_are_refused_where_the_config_says_so(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url), unpriced="refuse") as penstock:
        before = len(engine.requests)
        refused = penstock.chat("mystery", {"usage": usage(1, 1)})
        assert (refused.status, refused.headers["penstock-error"], refused.json()["error"]["code"]) == (400, "input", "unpriced_model")
        assert "price" in refused.json()["error"]["message"]
        assert len(engine.requests) == before, "the upstream has not heard of it"
        assert penstock.chat("small", {"usage": usage(1, 1)}).status == 200
        total = penstock.cost()["total"]
        assert (total["requests"], total["refused"], total["cost_usd"]) == (1, 1, "0.000000750")
