"""Where meters are read: an address, and labels that tell the series of fleets apart."""

import pytest

from penstock.config.checks_telemetry import problems
from penstock.config.load import parse

PROMETHEUS = '[telemetry]\nprometheus = "http://127.0.0.1:9090"\n'


def findings(text: str) -> list[str]:
    return [f"{problem.severity} {problem.where}" for problem in problems(parse(f"version = 1\n{text}", {}))]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ('prometheus = "http://127.0.0.1:9090"', []),
        ('prometheus = "https://a.example/prometheus/"', []),
        ('prometheus = "127.0.0.1:9090"', ["error telemetry.prometheus"]),
        ('prometheus = "http://me:secret@a"', ["error telemetry.prometheus"]),
        ('prometheus = "http://a/api/v1"', ["error telemetry.prometheus"]),
        ('prometheus_headers = { x-tenant = "a" }', ["warning telemetry.prometheus_headers"]),
        ('prometheus = "http://a"\nprometheus_headers = { "x y" = "a" }', ['error telemetry.prometheus_headers."x y"']),
        ('prometheus = "http://a"\nprometheus_headers = { authorization = "a" }', ["warning telemetry.prometheus_headers.authorization"]),
    ],
)
def test_addresses(table: str, found: list[str]) -> None:
    assert findings(f"[telemetry]\n{table}\n") == found


def test_meters_need_a_prometheus() -> None:
    fleet = '[fleets.a]\ngpu = "L4"\nruns = "prometheus"\nmatch = { Hostname = "a" }\nmetrics = { power = "p" }\n'
    assert findings(fleet) == ["warning fleets.a.match", "warning fleets.a.metrics.power"]
    assert findings(PROMETHEUS + fleet) == []


def test_series_of_fleets_are_told_apart() -> None:
    one, two = '[fleets.a]\ngpu = "L4"\n', '[fleets.b]\ngpu = "L4"\n'
    assert findings(PROMETHEUS + one) == [], "all series are of the only fleet"
    assert findings(PROMETHEUS + one + two) == ["warning fleets.a.match", "warning fleets.b.match"]
    own = 'metrics = { active = "x" }\n'
    assert findings(PROMETHEUS + one + own + two + 'match = { job = "b" }\n') == []
    same = 'match = { job = "b" }\n'
    assert findings(PROMETHEUS + one + same + two + same) == ["error fleets.b.match"]
    assert findings(PROMETHEUS + one + same + 'mig = "1g.6gb"\n' + two + same + 'mig = "2g.12gb"\n') == []


def test_labels_and_expressions() -> None:
    fleet = '[fleets.a]\ngpu = "L4"\nmatch = { "host-name" = "a", __name__ = "x" }\nmetrics = { power = " " }\n'
    assert findings(PROMETHEUS + fleet) == [
        "error fleets.a.match.host-name",
        "error fleets.a.match.__name__",
        "error fleets.a.metrics.power",
    ]
