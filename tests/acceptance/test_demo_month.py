"""The demo's month closes: its bill is the ledger and what stood idle, to the last nano-USD, and opens anywhere."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock import bootstrap
from penstock.config.load import load
from penstock.demo import scenery
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock
from tests.unit.demo.made import REQUESTS, UNTIL_NS, history

MONTH = "2026-10"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's own config over its own history, with October closed."""
    directory = tmp_path_factory.mktemp("month")
    settings = load(scenery.write(directory, "127.0.0.1:4100", 7, UNTIL_NS, REQUESTS), {})
    store = bootstrap.open_store(settings)
    store.take_in(Intake(records=history(), opened=(), settled=(), offsets={}))
    store.close()
    said = run(directory, "close", MONTH, "--yes", "--allow-unknown")  # its thirty days begin within October
    assert said.startswith("closed 2026-10 as bill 1: ")
    return directory


def run(directory: Path, *arguments: str) -> str:
    done = penstock(*arguments, "--config", str(directory / "penstock.toml"), cwd=directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked(directory: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(directory, *arguments, "--json"))
    return found


def test_the_bill_is_the_ledger_and_idle_to_the_last_nano_usd(directory: Path) -> None:
    bill = asked(directory, "bill", MONTH)
    cost = asked(directory, "cost", "--since", MONTH, "--by", "team,feature")
    api = sum(record.cost or 0 for record in history() if record.fleet is None and in_october(record.admitted_ns))
    lines = {line["line"]: Decimal(line["usd"]) for line in cost["statement"]["lines"]}
    assert lines["api"] == Decimal(api).scaleb(-9)
    hours = asked(directory, "cost", "--since", MONTH, "--by", "fleet")["statement"]["pots"]
    idle = sum(Decimal(pot["usd"]) for pot in hours if pot["line"] == "idle")
    assert lines["idle"] == idle > 0
    assert Decimal(bill["total_usd"]) == Decimal(cost["statement"]["total_usd"]) == sum(lines.values())


def test_rent_is_price_by_hours_from_the_ledgers_begin(directory: Path) -> None:
    begin, end = min(record.admitted_ns for record in history()), 1_793_491_200 * 10**9
    lines = {line["line"]: Decimal(line["usd"]) for line in asked(directory, "cost", "--since", MONTH)["statement"]["lines"]}
    hours = Decimal(end - begin) / (3_600 * 10**9)
    rent = lines["gpu_work"] + lines["gpu_waste"] + lines["idle"]
    assert abs(rent - hours * (2 * Decimal("0.99") + 2 * Decimal("2.85"))) < Decimal("0.000001")


def test_the_page_needs_no_network(directory: Path) -> None:
    page = run(directory, "bill", MONTH, "--format", "html")
    assert "<style" in page
    loads = re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)([^"']+)""", page) + re.findall(
        r"url\((?!#|data:|['\"]data:)([^)]+)\)|@import", page
    )
    assert not loads, loads
    assert f"{Decimal(asked(directory, 'bill', MONTH)['total_usd']):f}" in page


def test_a_closed_month_says_the_same_twice(directory: Path) -> None:
    first, second = (run(directory, "bill", MONTH, "--format", "json") for _ in range(2))
    assert first == second
    assert asked(directory, "close", MONTH, "--yes")["number"] == 1


def in_october(instant_ns: int) -> bool:
    return 1_790_812_800 * 10**9 <= instant_ns < 1_793_491_200 * 10**9
