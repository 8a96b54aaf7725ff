"""`penstock prices`: works with nothing configured, exact figures, dated entries, helpful when a name is unknown."""

import json
from decimal import Decimal
from pathlib import Path

from tests.acceptance.command_line import penstock

CONFIG = """
version = 1
[upstreams.local]
base_urls = ["http://127.0.0.1:8000/v1"]
[models."llama-8b"]
upstream = "local"
price = { input = 0.05, cached_input = 0.01, output = 0.10 }
[models.unknown]
upstream = "local"
"""


def test_list_needs_no_configuration(tmp_path: Path) -> None:
    done = penstock("prices", "list", "--provider", "openai", "--model", "gpt-4o*", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["prices"]
    mini = next(row for row in rows if row["name"] == "openai/gpt-4o-mini")
    assert mini["usd_per_million"] == {
        "uncached_input": "0.15",
        "cache_read": "0.075",
        "cache_write": "0.15",
        "visible_output": "0.6",
        "reasoning": "0.6",
    }
    assert mini["id"] == "genai-prices:openai/gpt-4o-mini"
    assert all(row["name"].startswith("openai/gpt-4o") for row in rows)


def test_list_is_a_table_of_whole_lines(tmp_path: Path) -> None:
    done = penstock("prices", "list", "--provider", "openai", "--model", "gpt-4o-mini", cwd=tmp_path, environ={"COLUMNS": "40"})
    assert done.returncode == 0
    assert any(line.split() == ["openai/gpt-4o-mini", "0.15", "0.075", "0.6"] for line in done.stdout.splitlines())
    assert "USD per million tokens" in done.stderr
    assert penstock("prices", "list", "--model", "gpt-4o-mini", "--quiet", cwd=tmp_path).stderr == ""


def test_configured_models_come_first(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(CONFIG)
    done = penstock("prices", "list", "--json", cwd=tmp_path)
    rows = json.loads(done.stdout)["prices"]
    assert [row["name"] for row in rows[:2]] == ["llama-8b", "unknown"]
    assert rows[0]["usd_per_million"]["visible_output"] == "0.1"
    assert rows[1]["usd_per_million"] is None
    assert len(rows) > 500
    assert "1 without a price" in done.stderr


def test_show_a_configured_model(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(CONFIG)
    done = penstock("prices", "show", "llama-8b", "--json", "--config", "other.toml", cwd=tmp_path)
    shown = json.loads(done.stdout)
    assert shown["source"] == "priced: by the config's `price`"
    assert [entry["id"] for entry in shown["entries"]] == ["config:llama-8b"]
    unpriced = penstock("prices", "show", "unknown", "--config", "other.toml", cwd=tmp_path)
    assert unpriced.returncode == 1
    assert "its upstream `local` has no provider" in unpriced.stderr
    assert "hint: give the model a `price`" in unpriced.stderr


def test_show_every_dated_entry_with_hours_bands_and_fees(tmp_path: Path) -> None:
    dated = json.loads(penstock("prices", "show", "deepseek/deepseek-v4-pro", "--json", cwd=tmp_path).stdout)["entries"]
    assert [(entry["from"], entry["hours"]) for entry in dated] == [
        (None, None),
        (None, "06:00-10:00 UTC"),
        (None, "01:00-04:00 UTC"),
        ("2026-08-17T00:00:00Z", None),
        ("2026-08-17T00:00:00Z", "06:00-10:00 UTC"),
        ("2026-08-17T00:00:00Z", "01:00-04:00 UTC"),
    ]
    banded = json.loads(penstock("prices", "show", "gemini-2.5-pro", "--json", cwd=tmp_path).stdout)["entries"][-1]["bands"]
    assert [(band["input_above"], Decimal(band["usd_per_million"]["uncached_input"])) for band in banded] == [
        (0, Decimal("1.25")),
        (200_000, Decimal("2.5")),
    ]
    fees = json.loads(penstock("prices", "show", "perplexity/sonar", "--json", cwd=tmp_path).stdout)["entries"]
    assert fees[-1]["usd_per_call"] == "0.012"
    assert "0.012 USD a call" in penstock("prices", "show", "perplexity/sonar", cwd=tmp_path).stdout


def test_an_unknown_name_fails_with_the_nearest(tmp_path: Path) -> None:
    done = penstock("prices", "show", "gpt-4oo", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no price of `gpt-4oo`")
    assert "`openai/gpt-4o`" in done.stderr
    near = penstock("prices", "show", "gpt-4oo", "--near", cwd=tmp_path)
    assert near.returncode == 0
    assert "openai/gpt-4o" in near.stdout.splitlines()
    assert penstock("prices", "list", "--provider", "opnai", cwd=tmp_path).returncode == 1


def test_a_broken_configuration_is_said_to_be_broken(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("version = ")
    assert penstock("prices", "show", "gpt-4o", cwd=tmp_path).returncode == 2
    assert penstock("prices", "list", "--config", "absent.toml", cwd=tmp_path).returncode == 2
