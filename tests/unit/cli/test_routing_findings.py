"""Callables of checks are tried as the gateway would use them; a ladder without prices keeps `serve` from starting."""

from pathlib import Path

import pytest

from penstock.cli.routing_findings import callable_findings, ladder_obstacles
from penstock.config.load import parse
from penstock.config.settings import Settings

PRICE = ", price = { input = 1, output = 1 }"


def settings_of(route: str = "", checks: str = "", small: str = PRICE, large: str = PRICE) -> Settings:
    return parse(
        f"""
version = 1
[upstreams.a]
base_urls = ["http://127.0.0.1:8000/v1"]
[models]
s = {{ upstream = "a"{small} }}
l = {{ upstream = "a"{large} }}
[tiers]
small = {{ model = "s" }}
large = {{ model = "l" }}
[routes.r]
strategy = "cascade"
tiers = ["small", "large"]
{route}
{checks}
""",
        {},
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("shop_checks:right", None),
        ("shop_checks:wrong", "AttributeError"),
        ("shop_checks:NUMBER", "there is no callable `NUMBER`"),
        ("nowhere_at_all:right", "No module named"),
        ("shop_fails:right", "boom"),
    ],
)
def test_callables_are_imported_from_the_directory_of_the_gateway(
    name: str, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_checks.py").write_text("NUMBER = 3\ndef right(question, answer):\n    return True\n")
    (tmp_path / "shop_fails.py").write_text("raise ValueError('boom')\n")
    monkeypatch.chdir(tmp_path)
    found = callable_findings(settings_of(checks=f'[checks.c]\nkind = "python"\ncallable = "{name}"'))
    if why is None:
        assert found == []
        return
    (problem,) = found
    assert (problem.severity, problem.where) == ("warning", "checks.c.callable")
    assert why in problem.text


def test_a_promise_about_tiers_without_prices_keeps_serve_from_starting() -> None:
    assert ladder_obstacles(settings_of("error_budget = 0.03")) == []
    assert ladder_obstacles(settings_of(large="")) == []
    (problem,) = ladder_obstacles(settings_of("error_budget = 0.03", large=""))
    assert (problem.severity, problem.where) == ("error", "routes.r")
    assert "`l` of tier `large` has no price" in problem.text
