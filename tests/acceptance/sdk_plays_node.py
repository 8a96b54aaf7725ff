"""The official Node SDKs, played by `sdk_node.mjs`; both are installed by npm into a directory that is kept between runs."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.acceptance.sdk_gate import PARAMETERS, QUESTION, Gate, Seen

SCRIPT = Path(__file__).with_name("sdk_node.mjs")
PACKAGES = ("openai@6", "@anthropic-ai/sdk@1")


class NodeMissing(Exception):
    """Node or the SDKs are not to be had here; says why."""


def install(directory: Path) -> Path:
    """The directory with both SDKs, installed if they are not there yet. Raises `NodeMissing`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NodeMissing("node and npm are not installed")
    if not (directory / "node_modules/@anthropic-ai/sdk").exists():
        (directory / "package.json").write_text('{"private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *PACKAGES]
        try:
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            raise NodeMissing("npm could not get the SDKs in time") from None
        if done.returncode != 0:
            raise NodeMissing(f"npm cannot get the SDKs: {done.stderr[-200:]}")
    return directory


def play(gate: Gate, directory: Path, name: str, how: str = "ok") -> dict[str, Any]:
    """What a play came to: `text`, `call` and `seen`, or `error` and `status`."""
    told = {
        "play": name,
        "address": gate.address,
        "base_url": gate.base_url,
        "headers": gate.headers,
        "model": gate.model(how),
        "question": QUESTION,
        "parameters": PARAMETERS,
    }
    done = subprocess.run(["node", str(SCRIPT), json.dumps(told)], cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    came: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return came


def answered(gate: Gate, directory: Path, name: str) -> Seen:
    came = play(gate, directory, name)
    gate.check_text(came.get("text") or str(came))
    return Seen(*came["seen"])


def called(gate: Gate, directory: Path, name: str) -> None:
    call = play(gate, directory, name)["call"]
    assert call["name"] == "open_gate" and isinstance(json.loads(call["arguments"])["by"], int)


def refused(gate: Gate, directory: Path, name: str) -> None:
    for how, error, status in (
        ("unknown", "NotFoundError", 404),
        ("limited", "RateLimitError", 429),
        ("failing", "InternalServerError", 500),
    ):
        came = play(gate, directory, name, how)
        assert (came.get("error"), came.get("status")) == (error, status), came


def broken(gate: Gate, directory: Path, name: str) -> None:
    came = play(gate, directory, name, "cut")
    assert "error" in came and came["status"] is None, came
