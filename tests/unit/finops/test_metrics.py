"""`/metrics`: parses, adds up to the records, stays bounded, and cannot be broken by a hostile tag."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from penstock.config.caching import SemanticCache
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.measures import Sums, sums_of
from penstock.domain.ledger.record import REPLAYED, Attempt, CacheDecision, UsageRecord
from penstock.finops.caching_value import caching_value
from penstock.finops.metrics import Gauges, MetricsAggregator, UnknownMetric
from penstock.ports.metrics import FROM_PROCESSES, FROM_RECORDS, metrics_markdown
from tests.unit.finops.ledgers import EVER, Ledger, usage_records

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scrape(aggregator: MetricsAggregator, gauges: Gauges | None = None) -> Samples:
    found: Samples = defaultdict(dict)
    for family in text_string_to_metric_families(aggregator.render(gauges or {}).decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found[sample.name], f"{sample.name}{labels} appears twice"
            found[sample.name][labels] = sample.value
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for key, value in samples[name].items() if labels.items() <= dict(key).items())


def record(**fields: Any) -> UsageRecord:
    given: dict[str, Any] = {"id": "r", "admitted_ns": 0, "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "m"}
    return UsageRecord(**given | fields)


@settings(max_examples=40, deadline=None)
@given(st.lists(usage_records(), max_size=30), st.integers(1, 40))
def test_counters_add_up_to_the_records(records: list[UsageRecord], bound: int) -> None:
    aggregator = MetricsAggregator(("team", "feature", "sla"), "1", max_series=bound)
    aggregator.observe(records[:10])
    aggregator.observe(records[10:])
    sums = Sums()
    for each in records:
        sums.add(sums_of(each))
    found = scrape(aggregator)
    assert total(found, "penstock_requests_total") == sums.requests
    assert total(found, "penstock_requests_total", outcome="ok") == sums.requests - sums.failed
    assert total(found, "penstock_refused_total") == sums.refused
    answers = {layer: total(found, "penstock_cache_answers_total", cache=layer) for layer in REPLAYED}
    assert sum(answers.values()) == sums.cache_hits
    value = caching_value(Ledger(records), EVER, (), SemanticCache())
    for layer in value.layers:
        assert answers[layer.name] == layer.answers
        assert total(found, "penstock_cache_avoided_usd_total", cache=layer.name) == pytest.approx(layer.avoided / 1e9)
    priced = [each for each in records if each.outcome != "refused" and each.purpose is None and each.cost is not None]
    assert total(found, "penstock_aside_calls_total") == sums.asides
    assert total(found, "penstock_aside_cost_usd_total") == pytest.approx(sums.aside_cost / 1e9)
    shadows = sum(each.purpose == "shadow" and each.outcome != "refused" for each in records)
    assert total(found, "penstock_aside_calls_total", purpose="shadow") == shadows
    assert total(found, "penstock_unpriced_aside_calls_total") == sums.asides_unpriced + sums.asides_unbooked
    assert total(found, "penstock_embedding_cost_usd_total") == pytest.approx(sum(each.embedding_cost or 0 for each in priced) / 1e9)
    assert total(found, "penstock_tokens_total", token_class="cache_write") == sums.cache_write
    assert total(found, "penstock_tokens_total", token_class="reasoning") == sums.reasoning
    assert total(found, "penstock_unpriced_requests_total") == sums.requests - sums.priced
    assert total(found, "penstock_estimated_requests_total") == sums.estimated
    assert total(found, "penstock_priced_tokens_total") == sums.priced_tokens
    assert total(found, "penstock_cost_usd_total") == pytest.approx(sums.cost / 1e9)
    assert total(found, "penstock_counterfactual_usd_total") == pytest.approx(sums.counterfactual / 1e9)
    assert total(found, "penstock_compared_cost_usd_total") == pytest.approx(sums.compared_cost / 1e9)
    answered = [each for each in records if each.outcome != "refused" and each.purpose is None]
    for prefix in ("penstock_request_duration_seconds", "gen_ai_client_operation_duration_seconds"):
        assert total(found, f"{prefix}_count") == len(answered)
        assert total(found, f"{prefix}_bucket", le="0.64") == sum(each.duration_us <= 640_000 for each in answered)
        assert total(found, f"{prefix}_sum") == pytest.approx(sum(each.duration_us for each in answered) / 1e6)
    timed = [each.first_token_us for each in answered if each.first_token_us is not None]
    assert total(found, "penstock_time_to_first_token_seconds_count") == len(timed)
    assert total(found, "gen_ai_server_time_to_first_token_seconds_bucket", le="0.25") == sum(each <= 250_000 for each in timed)
    tokens = sum(each.tokens.output for each in answered)
    assert total(found, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == tokens


def test_what_went_to_vain_tries_is_told_apart() -> None:
    aggregator = MetricsAggregator((), "1")
    aggregator.observe([record(cost=7 * 10**9, wasted_cost=2 * 10**9), record(cost=10**9), record(cost=None, wasted_cost=None)])
    found = scrape(aggregator)
    assert (total(found, "penstock_cost_usd_total"), total(found, "penstock_wasted_cost_usd_total")) == (8, 2)


def test_what_the_cache_made_of_requests_is_counted_and_timed() -> None:
    served = CacheDecision(verdict="served", mode="learned", embedding_us=4_000)
    probed, unfit = CacheDecision(verdict="probe", mode="learned", embedding_us=90_000), CacheDecision(verdict="unfit", mode="learned")
    aggregator = MetricsAggregator((), "1")
    aggregator.observe(record(cache_decision=each) for each in (served, served, probed, unfit, None))
    found = scrape(aggregator)
    assert total(found, "penstock_cache_lookups_total", verdict="served", mode="learned") == 2
    assert total(found, "penstock_cache_lookups_total", verdict="probe") == 1
    assert total(found, "penstock_cache_lookups_total") == 4
    assert total(found, "penstock_embedding_duration_seconds_bucket", le="0.005") == 2
    assert total(found, "penstock_embedding_duration_seconds_sum") == pytest.approx(0.098)


def test_label_sets_are_bounded_and_nothing_is_lost() -> None:
    aggregator = MetricsAggregator(("user",), "1", max_series=10)
    aggregator.observe(record(tags={"user": f"u{number}"}, cost=10**9) for number in range(100))
    found = scrape(aggregator)
    assert len(found["penstock_cost_usd_total"]) == 11
    assert total(found, "penstock_cost_usd_total") == 100
    assert total(found, "penstock_cost_usd_total", user="other", model="m") == 90
    assert total(found, "penstock_metric_series_dropped_total") == 90


def test_paths_that_clients_make_up_take_no_label_sets() -> None:
    aggregator = MetricsAggregator((), "1", max_series=10)
    aggregator.observe(record(endpoint=f"/v1/{number}", model=None) for number in range(1000))
    aggregator.observe([record(), record(endpoint="/v1/images/edits")])
    found = scrape(aggregator)
    assert len(found["penstock_requests_total"]) == len(found["penstock_request_duration_seconds_count"]) == 3
    assert total(found, "penstock_requests_total", endpoint="other") == 1000
    assert total(found, "penstock_metric_series_dropped_total") == 0


@pytest.mark.parametrize(
    ("endpoint", "label"),
    [
        ("chat.completions", "chat.completions"),
        ("embeddings", "embeddings"),
        ("/v1/responses", "responses"),
        ("/v1/audio/speech", "audio"),
        ("/v1/files/f-1/content", "files"),
        ("/v1/chat/completions/c-1", "other"),
        ("/v1/chat.completions", "other"),
        ("/v1/completions/x", "other"),
        ("/v1/imagesX", "other"),
        ("/v1/", "other"),
    ],
)
def test_endpoints_and_their_labels(endpoint: str, label: str) -> None:
    aggregator = MetricsAggregator((), "1")
    aggregator.observe([record(endpoint=endpoint)])
    assert total(scrape(aggregator), "penstock_requests_total", endpoint=label) == 1


def test_a_path_that_was_passed_through_has_its_operation() -> None:
    aggregator = MetricsAggregator((), "1")
    aggregator.observe([record(endpoint="/v1/messages")])
    assert total(scrape(aggregator), "gen_ai_client_operation_duration_seconds_count", gen_ai_operation_name="chat") == 1


@given(st.text(max_size=40))
def test_a_hostile_tag_is_only_a_label_value(value: str) -> None:
    aggregator = MetricsAggregator(("team",), "1")
    aggregator.observe([record(tags={"team": value}), record()])
    aggregator.observe([record(tags={"team": 'x"} 1\npenstock_cost_usd_total{model="free'}, cost=7)])
    found = scrape(aggregator)
    assert total(found, "penstock_requests_total") == 3
    assert total(found, "penstock_cost_usd_total", model="free") == 0


def test_labels_of_tags_are_legal_and_never_clash() -> None:
    aggregator = MetricsAggregator(("cost-center", "le", "outcome", "model", "2nd", "données", "team"), "1")
    aggregator.observe([record(tags={"cost_center": "c", "le": "l", "outcome": "o", "2nd": "s", "données": "d", "team": "t"})])
    ((labels, _),) = scrape(aggregator)["penstock_requests_total"].items()
    assert {
        "cost_center": "c",
        "tag_le": "l",
        "tag_outcome": "o",
        "tag_2nd": "s",
        "donn_es": "d",
        "team": "t",
        "model": "m",
    }.items() <= dict(labels).items()


def test_opentelemetry_names_and_attributes() -> None:
    aggregator = MetricsAggregator((), "1", providers={"api": "openai"})
    aggregator.observe([record(upstream="api", response_model="m-1", tokens=Tokens(3, 4, 0, 5, 6), outcome="error", status=500)])
    found = scrape(aggregator)
    common = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "m",
        "gen_ai_response_model": "m-1",
    }
    assert total(found, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **common) == 7
    assert total(found, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **common) == 11
    assert total(found, "gen_ai_client_operation_duration_seconds_count", error_type="error", **common) == 1


def test_attempts_are_counted_by_upstream_and_outcome() -> None:
    aggregator = MetricsAggregator((), "1")
    tries = [("a", None, "connect"), ("a", 503, None), ("a", 200, "reset"), ("b", 200, None), ("b", 200, "made up text")]
    aggregator.observe([record(attempts=tuple(Attempt("m", upstream, "r", status, 1, error) for upstream, status, error in tries))])
    found = {
        (dict(key)["upstream"], dict(key)["outcome"]): value
        for key, value in scrape(aggregator)["penstock_upstream_attempts_total"].items()
    }
    assert found == {("a", "connect"): 1, ("a", "status"): 1, ("a", "reset"): 1, ("b", "ok"): 1, ("b", "other"): 1}


def test_gauges_of_several_workers_add_up() -> None:
    gauges: Gauges = {
        "penstock_requests_in_flight": [((), 2), ((), 3)],
        "penstock_upstream_outstanding": [(("u", "r1"), 1), (("u", "r1"), 1), (("u", "r2"), 0)],
        "penstock_journal_failures_total": [(("worker-1",), 3), (("worker-2",), 1)],
    }
    found = scrape(MetricsAggregator((), "1.2.3"), gauges)
    assert total(found, "penstock_requests_in_flight") == 5
    assert total(found, "penstock_upstream_outstanding", replica="r1") == 2
    assert total(found, "penstock_upstream_outstanding", replica="r2") == 0
    assert total(found, "penstock_journal_failures_total") == 4
    assert total(found, "penstock_build_info", version="1.2.3") == 1


@pytest.mark.parametrize("gauges", [{"penstock_nonsense": [((), 1.0)]}, {"penstock_store_up": [(("extra",), 1.0)]}])
def test_a_gauge_that_the_table_does_not_list_is_refused(gauges: Gauges) -> None:
    with pytest.raises(UnknownMetric):
        MetricsAggregator((), "1").render(gauges)


def test_all_that_is_rendered_stands_in_the_table_and_the_table_in_the_page() -> None:
    aggregator = MetricsAggregator(("team",), "1")
    aggregator.observe(
        [record(first_token_us=5, tokens=Tokens(1, 0, 0, 1, 0), attempts=(Attempt("m", "u", "r", 200, 1),)), record(outcome="refused")]
    )
    every: Gauges = {metric.name: [(("x",) * len(metric.labels), 1.0)] for metric in FROM_PROCESSES}
    families = text_string_to_metric_families(aggregator.render(every).decode())
    rendered = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    listed = {metric.name for metric in (*FROM_RECORDS, *FROM_PROCESSES)}
    assert rendered == listed
    page = metrics_markdown()
    assert all(f"`{name}`" in page for name in listed)
