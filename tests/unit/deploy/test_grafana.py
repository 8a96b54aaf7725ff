"""The dashboard names only metrics and labels that exist, draws all of them, and lies on the page without gaps or overlaps."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.config.settings import Settings, Tags
from penstock.deploy.files import render
from penstock.deploy.grafana import PAGE, SCHEMA_VERSION, dashboard
from penstock.deploy.promql import Selection, UnknownLabel
from penstock.ports.metrics import COST, FROM_PROCESSES, FROM_RECORDS, IN_FLIGHT, tag_labels
from tests.unit.deploy.expressions import metrics_in, unknown_labels

DECLARED = [("team", "feature", "user"), Tags().declared, (), ("cost-center", "model", "job", "2nd"), ("user",)]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: dict[str, Any]) -> Iterator[str]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_what_is_drawn_stands_in_the_table_and_the_table_is_drawn(declared: tuple[str, ...]) -> None:
    board = dashboard(declared)
    tags = set(tag_labels(declared).values())
    drawn: set[str] = set()
    for expr in expressions(board):
        assert not unknown_labels(expr, tags), expr
        drawn |= metrics_in(expr)
    # the OpenTelemetry names tell the same figures again, for dashboards made elsewhere
    assert drawn == {metric.name for metric in (*FROM_RECORDS, *FROM_PROCESSES) if metric.otel is None}


@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_variables_are_those_that_the_queries_use(declared: tuple[str, ...]) -> None:
    board = dashboard(declared)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    text = json.dumps(board["panels"])
    assert [name for name in variables if f"${name}" not in text and f"${{{name}}}" not in text] == []
    assert not {"$user", "$tag_model"} & set(text.replace('"', " ").split())
    labels = {"model", "tier", "upstream", "endpoint", "sla", *tag_labels(declared).values()}
    assert set(variables["by"]["query"].split(",")) == labels
    assert {name for name in variables if name not in ("datasource", "job", "by")} <= labels


def test_every_panel_asks_the_chosen_data_source_and_says_what_it_shows() -> None:
    board = dashboard(("team", "feature"))
    for panel in panels(board):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert board["schemaVersion"] == SCHEMA_VERSION
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in board["panels"]]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_panels_lie_beside_one_another(declared: tuple[str, ...]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(declared)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= PAGE
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_a_label_that_a_metric_does_not_have_cannot_be_asked_for() -> None:
    selection = Selection(("team",), "5m")
    assert selection.series(COST, 'team=""') == 'penstock_cost_usd_total{team=""}'
    with pytest.raises(UnknownLabel, match="feature"):
        selection.series(COST, 'feature!=""')
    with pytest.raises(UnknownLabel):
        selection.series(IN_FLIGHT, 'model="m"')


def test_the_file_is_json() -> None:
    (file,) = render("grafana", Settings(version=1))
    assert json.loads(file.text) == dashboard(Tags().declared)
