"""Runs `penstock` as a user would: another process, its own directory, nothing of ours in its environment."""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def penstock(*arguments: str, cwd: Path, environ: dict[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command line; text of stdout and stderr, and the exit code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OPENAI_")) and name != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments],
        cwd=cwd,
        env=kept | {"PYTHONPATH": str(SOURCE), "COLUMNS": "120"} | (environ or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
