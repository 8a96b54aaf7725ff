"""A real Prometheus scrapes a running gateway with what `penstock deploy render` writes: rules and dashboard tell what the ledger tells."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.command_line import penstock as command
from tests.acceptance.prometheus import Prometheus, prometheus
from tests.acceptance.serving import Serving, serving, wait_until, write_config
from tests.engines.recording import recording_engine

TABLES = """
[upstreams.engine]
base_urls = ["{engine}"]
retries = 0
[upstreams.rented]
base_urls = ["{engine}"]
[models.small]
upstream = "rented"
max_output = 100
price = {{ input = 0.15, cached_input = 0.075, output = 0.60 }}
[models.big]
upstream = "engine"
price = {{ input = 2.50, output = 10 }}
[models.mystery]
upstream = "engine"
[fleets.cards]
upstream = "rented"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
[tiers]
small = {{ model = "small" }}
large = {{ model = "big", complexity = "> 0.7" }}
[routes.auto]
strategy = "by_complexity"
tiers = ["small", "large"]
[tags]
declared = ["team", "feature"]
[[budgets]]
name = "all"
limit = "1000 USD / month"
[[budgets]]
name = "cards"
where = {{ fleet = "cards" }}
limit = "10000 gpu-hours / month"
[[budgets]]
name = "interns"
where = {{ team = "interns" }}
limit = "0.00001 USD / month"
at_limit = "refuse"
"""
USAGE = {"prompt_tokens": 1003, "completion_tokens": 57, "total_tokens": 1060, "prompt_tokens_details": {"cached_tokens": 500}}
NO_MEANING = (
    "penstock_cache_wrong_ratio", "penstock_cache_expected_ratio", "penstock_cache_promised_ratio", "penstock_cache_alarms",
    "penstock_cache_lookups_total", "penstock_embedding_duration", "penstock_semantic_cache",
)  # fmt: skip
"""what is not there without `[cache.semantic]`"""
SILENT = {
    *NO_MEANING,
    "penstock_traced_requests_total", "penstock_traces_dropped_total",
    "penstock_objective_burn_rate", "penstock_directive_active", "penstock_fleet_target_units",
    "penstock_route_stage_total", "penstock_route_shadow_total", "penstock_route_error_budget", "penstock_route_expected_loss",
    "penstock_route_state", "penstock_aside_cost_usd_total", "penstock_aside_calls_total",
    "penstock_unpriced_aside_calls_total",
}  # fmt: skip
"""what is not there without `[telemetry] traces`, `[[slos]]` and routes that judge answers"""
LATER = "budget_forecast"
"""nobody knows after a minute how a month will end"""


class Watched(NamedTuple):
    """A gateway that has answered, the Prometheus that scraped it, and what was rendered for both."""

    penstock: Serving
    prometheus: Prometheus
    dashboard: dict[str, Any]
    rules: dict[str, Any]


def traffic(penstock: Serving) -> None:
    """A batch. Every batch is alike (but for the cache), so that cost and tokens of a model grow in proportion."""
    fresh = {"penstock-cache": "no-store"}
    reply = {"usage": USAGE}
    for team in ("search", "support"):
        assert penstock.chat("small", reply, headers={**fresh, "penstock-tag-team": team}).status == 200
    assert penstock.chat("big", reply, headers=fresh, stream=True).status == 200
    assert penstock.chat("auto", reply, headers={"penstock-tag-team": "search", "penstock-tag-feature": "answers"}).status == 200
    assert penstock.chat("mystery", reply, headers=fresh).status == 200
    assert penstock.chat("big", {"status": 500}, headers=fresh).status == 500
    assert penstock.chat("nonsense", reply).status == 404
    assert penstock.chat("small", reply, headers={**fresh, "penstock-tag-team": "interns"}).status == 402


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("watched")
    with recording_engine() as engine, serving(directory, TABLES.format(engine=engine.base_url), baseline="large") as penstock:
        address = penstock.address.removeprefix("http://")
        rendered = penstock.command("deploy", "render", "prometheus", "--output", "watch")
        assert rendered.returncode == 0, rendered.stderr
        scrape = (directory / "watch" / "penstock-scrape.yml").read_text()
        often = scrape.replace("15s", "1s").replace("127.0.0.1:0", address)
        (directory / "watch" / "prometheus.yml").write_text(f"global: {{evaluation_interval: 1s}}\n{often}")
        traffic(penstock)
        with prometheus(directory / "watch") as server:
            wait_until(lambda: server.value("sum(penstock_requests_total)") == 6, "the first batch to be scraped")
            for _ in range(3):
                traffic(penstock)
            wait_until(lambda: server.value("sum(penstock_requests_total)") == 24, "all of it to be scraped")
            wait_until(lambda: server.value("penstock:spend_usd_per_hour:1h > 0") is not None, "the rules to be evaluated")
            board = json.loads(penstock.command("deploy", "render", "grafana").stdout)
            rules = json.loads(penstock.command("deploy", "render", "prometheus", "--json").stdout)
            yield Watched(penstock, server, board, rules)


def as_grafana_asks(expr: str, by: str = "model") -> str:
    for name, value in (("$__rate_interval", "10m"), ("$__range", "10m"), ("$by", by)):
        expr = expr.replace(name, value)
    for variable in ("job", "model", "team", "feature"):
        expr = expr.replace(f"${variable}", ".*")
    assert "$" not in expr
    return expr


def test_budgets_are_those_of_the_ledger(watched: Watched) -> None:
    (row,) = [row for row in watched.penstock.cost("--by", "team")["rows"] if row["team"] == "interns"]
    assert (row["requests"], row["refused"]) == (0, 4)
    asked = watched.prometheus.query
    assert {labels["budget"]: value for labels, value in asked("penstock_refused_budget_total")} == {"interns": 4}
    limits = asked("penstock_budget_limit_usd or penstock_budget_limit_gpu_hours")
    assert {labels["budget"]: value for labels, value in limits} == {"all": 1000, "cards": 10_000, "interns": 0.00001}
    assert {labels["budget"] for labels, _ in asked("penstock:budget_spent_ratio")} == {"all", "cards", "interns"}


def test_counters_are_the_ledger(watched: Watched) -> None:
    report = watched.penstock.cost("--by", "model,team")
    asked = watched.prometheus.query(
        "sum by (model, team) (penstock_cost_usd_total) and sum by (model, team) (penstock_priced_tokens_total) > 0"
    )
    found = {(labels.get("model", ""), labels.get("team", "")): value for labels, value in asked}
    expected = {(row["model"] or "", row["team"] or ""): float(row["cost_usd"]) for row in report["rows"] if row["cp1kt_usd"] is not None}
    assert len(expected) == 3
    assert found == pytest.approx(expected, rel=1e-12)
    assert watched.prometheus.value("sum(penstock_cost_usd_total)") == pytest.approx(float(report["total"]["cost_usd"]), rel=1e-12)
    saved = watched.prometheus.value("sum(penstock_counterfactual_usd_total) - sum(penstock_compared_cost_usd_total)")
    assert saved == pytest.approx(float(report["total"]["saved_usd"]), rel=1e-12)


@pytest.mark.parametrize("label", ["model", "team"])
def test_recorded_cp1kt_is_that_of_the_ledger(watched: Watched, label: str) -> None:
    rows = watched.penstock.cost("--by", label)["rows"]
    expected = {row[label] or "": float(row["cp1kt_usd"]) for row in rows if row["cp1kt_usd"] is not None}

    def recorded() -> dict[str, float]:
        found = watched.prometheus.query(f"penstock:cp1kt_usd:by_{label}_1h")
        return {labels.get(label, ""): value for labels, value in found}

    wait_until(lambda: recorded().keys() == expected.keys(), "the rules to have seen all")
    assert recorded() == pytest.approx(expected, abs=1e-9), "the ledger shows nine decimals"


def test_every_panel_evaluates_and_shows_something(watched: Watched) -> None:
    for panel in watched.dashboard["panels"]:
        for target in panel.get("targets", ()):
            found = watched.prometheus.query(as_grafana_asks(target["expr"]))
            if LATER in target["expr"]:
                continue
            silent = any(name in target["expr"] for name in SILENT) and "or vector(0)" not in target["expr"]
            assert bool(found) != silent, (panel["title"], target["expr"])
    for by in ("team", "tier", "upstream", "endpoint", "sla", "feature"):
        for panel in watched.dashboard["panels"]:
            for target in panel.get("targets", ()):
                if "$by" in target["expr"]:
                    assert watched.prometheus.query(as_grafana_asks(target["expr"], by))


def test_some_panels_say_what_is_true(watched: Watched) -> None:
    def shown(title: str) -> dict[str, float]:
        (panel,) = [panel for panel in watched.dashboard["panels"] if panel["title"] == title]
        found: dict[str, float] = {}
        for target in panel["targets"]:
            for labels, value in watched.prometheus.query(as_grafana_asks(target["expr"])):
                name = target["legendFormat"].replace("$by", "model")
                for label, text in labels.items():
                    name = name.replace(f"{{{{{label}}}}}", text)
                found[name] = value
        return found

    rows = watched.penstock.cost("--by", "model")["rows"]
    priced = {row["model"]: float(row["cp1kt_usd"]) for row in rows if row["cp1kt_usd"] is not None}
    assert {name: value for name, value in shown("CP1KT by ${by}").items() if name in priced} == pytest.approx(priced, abs=1e-9)
    assert shown("Unpriced")["__auto"] == pytest.approx(4 / 24, rel=1e-6)
    assert shown("Fleets: rent and use per hour")["rent cards (L40S)"] == pytest.approx(1.58)
    assert sum(shown("Route mix").values()) == pytest.approx(1)
    assert shown("Stores that are up") == {"__auto": 1}
    assert shown("Journal failures") == {"__auto": 0}


def test_every_rule_is_loaded_and_the_right_alerts_fire(watched: Watched) -> None:
    wait_until(lambda: "PenstockUnpricedRequests" in watched.prometheus.firing(), "the unpriced requests to be told of")
    assert watched.prometheus.firing() == {"PenstockUnpricedRequests", "PenstockBudgetClosed"}
    (recorded,) = [file for file in watched.rules["files"] if file["path"] == "penstock-rules.yml"]
    for line in recorded["text"].splitlines():
        if "record: " in line:
            name = line.partition("record: ")[2]
            assert watched.prometheus.query(name) or LATER in name, name


def test_render_prints_writes_or_only_says_so(tmp_path: Path) -> None:
    write_config(tmp_path, '[tags]\ndeclared = ["squad"]\n')
    printed = command("deploy", "render", "grafana", cwd=tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "")
    board = json.loads(printed.stdout)
    assert "squad" in [variable["name"] for variable in board["templating"]["list"]]
    dry = command("deploy", "render", "grafana", "--output", "out", "--dry-run", cwd=tmp_path)
    assert (dry.returncode, dry.stdout) == (0, "")
    assert dry.stderr == "would write out/penstock-dashboard.json\n"
    assert not (tmp_path / "out").exists()
    written = command("deploy", "render", "grafana", "--output", "out", "--json", "--quiet", cwd=tmp_path)
    assert (written.returncode, written.stderr) == (0, "")
    shown = json.loads(written.stdout)
    assert (shown["written"], shown["files"][0]["path"]) == (True, "out/penstock-dashboard.json")
    assert (tmp_path / "out" / "penstock-dashboard.json").read_text() == printed.stdout == shown["files"][0]["text"]
    parts = command("deploy", "render", "prometheus", cwd=tmp_path).stdout
    assert [line for line in parts.splitlines() if line.startswith("# penstock-")] == ["# penstock-rules.yml", "# penstock-scrape.yml"]


def test_a_target_that_is_not_built_is_refused_with_what_there_is(tmp_path: Path) -> None:
    write_config(tmp_path, "")
    done = command("deploy", "render", "kubernetes", cwd=tmp_path)
    assert done.returncode == 2
    assert "grafana" in done.stderr
