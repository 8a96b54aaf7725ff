"""The demo's keeper clears the stage at once, and what it keeps can be told to end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.demo.stage import stage
from tests.acceptance.serving import wait_until

SLEEP = ["sleep", "60"]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_gateway_that_has_not_begun_can_be_told_to_end(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "penstock.demo.keeper"],
        env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as keeper:  # fmt: skip
        assert keeper.stdin is not None and keeper.stdout is not None
        directory = Path(keeper.stdout.readline().strip())
        keeper.stdin.write(json.dumps(["", *SLEEP]) + "\n")
        keeper.stdin.flush()
        gateway = int(keeper.stdout.readline())
        began = time.monotonic()
        keeper.stdin.close()
        assert keeper.wait(20) == 0
    assert time.monotonic() - began < 5, "it is not deaf to SIGTERM"
    assert not directory.exists() and not alive(gateway)


def test_a_killed_keeper_leaves_no_gateway_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with stage(1, time.time_ns(), 1000) as scene:
        scene.open("")

        def running() -> list[int]:
            found = []
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if str((process / "cwd").readlink()).startswith(str(tmp_path)) and alive(int(process.name)):
                        found.append(int(process.name))
                except OSError:
                    continue
            return found

        wait_until(lambda: len(running()) > 1, "the gateway to start what it needs")
        os.kill(scene._keeper.pid, signal.SIGKILL)
    wait_until(lambda: not running(), "the gateway to end")
    assert not list(tmp_path.iterdir())
