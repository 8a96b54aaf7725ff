"""Who may import whom, as the contracts in pyproject.toml say; and that the contracts bite."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, REPOSITORY

HEAVY = ("httpx", "httpx2", "numpy", "torch", "starlette", "uvloop", "genai_prices", "psycopg", "redis", "openai", "opentelemetry", "yaml")


def contracts(source: Path) -> subprocess.CompletedProcess[str]:
    """The verdict of import-linter on the package under `source`."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache", "--config", "pyproject.toml"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_are_kept() -> None:
    verdict = contracts(REPOSITORY / "src")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_contracts_bite(copy: Path) -> None:
    package = copy / "penstock"
    (package / "attic").mkdir()
    (package / "attic" / "__init__.py").write_text('"""A room that nobody declared."""\n')
    (package / "domain" / "units.py").write_text("import sqlite3\n\nimport penstock.domain.ledger\n")
    (package / "gateway" / "__init__.py").write_text("import penstock.adapters\n")
    verdict = contracts(copy)
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    for broken in ("attic", "penstock.gateway is not allowed to import penstock.adapters", "sqlite3"):
        assert broken in verdict.stdout
    assert "penstock.domain.units is not allowed to import penstock.domain.ledger" in verdict.stdout


def test_help_starts_light() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['penstock', '--help']\n"
        "from penstock.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr.split(), "`penstock --help` must not load these"
