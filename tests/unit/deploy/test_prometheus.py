"""Rules name only what exists, and every alert says what is wrong and what to do."""

import re

import pytest
import yaml

from penstock.config.load import parse
from penstock.config.settings import Tags
from penstock.deploy.files import render
from penstock.deploy.prometheus import KEY_FILE, rules, scrape
from penstock.ports.metrics import tag_labels
from tests.unit.deploy.expressions import metrics_in, unknown_labels

RECORDED = re.compile(r"\bpenstock:[\w:]+")


@pytest.mark.parametrize("declared", [("team", "feature"), (), Tags().declared], ids=str)
def test_rules_name_only_what_exists(declared: tuple[str, ...]) -> None:
    figures, alerts = rules(declared)["groups"]
    recorded = {rule["record"] for rule in figures["rules"]}
    assert len(recorded) == len(figures["rules"])
    for rule in (*figures["rules"], *alerts["rules"]):
        assert set(RECORDED.findall(rule["expr"])) <= recorded
        if not RECORDED.search(rule["expr"]):
            assert metrics_in(rule["expr"]) or "up{" in rule["expr"]
            assert not unknown_labels(rule["expr"], set(tag_labels(declared).values()))


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    alerts = rules(("team",))["groups"][1]["rules"]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert all(rule["annotations"].values())


def test_files_are_yaml_and_follow_the_config() -> None:
    settings = parse('version = 1\n[server]\nlisten = "127.0.0.1:4242"\n[tags]\ndeclared = ["squad"]\n', {})
    found, scraped = render("prometheus", settings)
    assert (found.name, scraped.name) == ("penstock-rules.yml", "penstock-scrape.yml")
    assert yaml.safe_load(found.text) == rules(("squad",))
    assert "penstock:cp1kt_usd:by_squad_24h" in found.text
    assert yaml.safe_load(scraped.text)["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:4242"]}]
    assert yaml.safe_load(scraped.text)["rule_files"] == [found.name]


@pytest.mark.parametrize(
    ("listen", "target"),
    [("0.0.0.0:1", "localhost:1"), ("[::]:1", "localhost:1"), ("[::1]:1", "[::1]:1"), ("gw.example:1", "gw.example:1")],
)
def test_any_address_is_this_host(listen: str, target: str) -> None:
    assert scrape(listen)["scrape_configs"][0]["static_configs"] == [{"targets": [target]}]


def test_metrics_that_need_a_key_are_scraped_with_one() -> None:
    for tables, keyed in (
        ("", False),
        ('[server]\nlisten = "0.0.0.0:1"\n', True),
        ('[server]\nlisten = "0.0.0.0:1"\n[auth]\nmetrics = "open"\n', False),
        ('[auth]\nmetrics_key = { env = "KEY" }\n', True),
    ):
        [job] = yaml.safe_load(render("prometheus", parse(f"version = 1\n{tables}", {}))[1].text)["scrape_configs"]
        assert job.get("authorization") == ({"credentials_file": KEY_FILE} if keyed else None)
