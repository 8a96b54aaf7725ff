"""The Grafana dashboard as code: panels laid out on a page, with variables for data source, job, model and declared tags.

The JSON is that of Grafana 12 (dashboard schema 42); older ones read it, newer ones lift it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from penstock.deploy.budget_panels import budget_row
from penstock.deploy.panels import Panel, Row, rows
from penstock.deploy.promql import JOB, Selection
from penstock.ports.metrics import BUILD, REQUESTS, TAGGED, tag_labels

SCHEMA_VERSION = 42
PAGE = 24
LABEL_VALUES = 1
"""Grafana's number for a variable that lists the values of a label"""
HEIGHTS = {"stat": 4, "series": 8}
MOST_FILTERS = 3
"""declared tags that get a filter and panels of their own: the first ones, users aside, of whom there are too many"""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_LINES = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}


def dashboard(declared: Sequence[str]) -> dict[str, Any]:
    """The dashboard for these declared tags, ready to be imported or provisioned."""
    labels = tuple(tag_labels(declared).values())
    watched = tuple(label for label in labels if label != "user")[:MOST_FILTERS]
    filters = tuple((label, f'=~"${label}"') for label in (JOB, "model", *watched))
    seen, over = Selection(labels, "$__rate_interval", filters), Selection(labels, "$__range", filters)
    return {
        "uid": "penstock",
        "title": "Penstock: what AI requests cost",
        "description": "Cost, service and health of the gateway. Money here is what Prometheus extrapolates; exact: penstock cost.",
        "tags": ["penstock"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [*_variables((*TAGGED, *labels), watched)]},
        "panels": [*_laid_out((*rows(seen, over, "$by", watched), budget_row(seen, over)))],
    }


def _variables(groups: Sequence[str], watched: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0}
    yield _values_of(JOB, f"label_values({BUILD.name}, {JOB})")
    for label in ("model", *watched):
        yield _values_of(label, f'label_values({REQUESTS.name}{{{JOB}=~"${JOB}"}}, {label})')
    options = [{"text": label, "value": label, "selected": label == "model"} for label in groups]
    yield {
        "name": "by",
        "label": "By",
        "type": "custom",
        "query": ",".join(groups),
        "options": options,
        "current": {"text": "model", "value": "model"},
        "hide": 0,
    }


def _values_of(label: str, query: str) -> dict[str, Any]:
    """Several may be chosen; All matches series without the label too."""
    return {
        "name": label,
        "label": label.replace("_", " ").capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"qryType": LABEL_VALUES, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _laid_out(page: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Left to right, a new line where a panel does not fit; ids count from 1."""
    number, y = 0, 0
    for row in page:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": _place(0, y, PAGE, 1), "panels": []}
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            tall = HEIGHTS[panel.kind]
            if x + panel.width > PAGE or (height and tall != height):
                x, y, height = 0, y + height, 0
            number, height = number + 1, tall
            yield _panel(panel, number) | {"gridPos": _place(x, y, panel.width, tall)}
            x += panel.width
        y += height


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    stat = panel.kind == "stat"
    return {
        "id": number,
        "type": "stat" if stat else "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": stat,
                "range": not stat,
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(stat),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.kind == "series":
        defaults["custom"] = _LINES | {"stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"}}
    steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    return defaults | {
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }


def _options(stat: bool) -> dict[str, Any]:
    if stat:
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value", "graphMode": "none"}
    return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
