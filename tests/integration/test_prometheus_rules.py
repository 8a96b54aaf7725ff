"""Prometheus' own checker reads the rendered rules, and gets from written series what they promise."""

import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.config.settings import Settings
from penstock.deploy.files import render
from tests.conftest import service_missing

SERIES = Path(__file__).parents[1] / "golden" / "prometheus"


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    """A directory with what is rendered for Prometheus."""
    if shutil.which("promtool") is None:
        service_missing("promtool", "it comes with Prometheus")
    for file in render("prometheus", Settings(version=1)):
        (tmp_path / file.name).write_text(file.text)
    return tmp_path


def promtool(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_are_valid(rendered: Path) -> None:
    assert "SUCCESS" in promtool(rendered, "check", "rules", "penstock-rules.yml")


def test_the_scrape_config_is_valid(rendered: Path) -> None:
    promtool(rendered, "check", "config", "penstock-scrape.yml")


@pytest.mark.parametrize("series", ["rules_test.yml", "weeks_test.yml", "budgets_test.yml", "caching_test.yml", "routing_test.yml"])
def test_rules_do_what_they_say(rendered: Path, series: str) -> None:
    shutil.copy(SERIES / series, rendered)
    promtool(rendered, "test", "rules", series)


def test_a_wrong_promise_is_noticed(rendered: Path) -> None:
    promised = (SERIES / "rules_test.yml").read_text()
    (rendered / "wrong.yml").write_text(promised.replace('model="m"}\', value: 0.5}', 'model="m"}\', value: 0.6}'))
    with pytest.raises(AssertionError, match="FAILED"):
        promtool(rendered, "test", "rules", "wrong.yml")
