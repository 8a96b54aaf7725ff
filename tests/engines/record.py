"""Records what the real engine answers, byte for byte, into `tests/golden/llama`: `python -m tests.engines.record`.

A recording is one file per call: the request's JSON on the first line, then the answer's body as it came.
"""

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.engines.llama import ALIAS, running_engine

DIRECTORY = Path(__file__).resolve().parents[1] / "golden" / "llama"
CHAT: dict[str, Any] = {
    "model": ALIAS,
    "messages": [{"role": "user", "content": "what does the gate do?"}],
    "max_tokens": 4,
    "temperature": 0,
    "seed": 1,
}
TOOL = {"type": "function", "function": {"name": "open_gate", "parameters": {"type": "object", "properties": {"by": {"type": "integer"}}}}}
SCHEMA = {"type": "object", "properties": {"level": {"enum": [1, 2]}}, "required": ["level"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "gate", "schema": SCHEMA, "strict": True}}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
COMPLETION: dict[str, Any] = {"model": ALIAS, "prompt": "the water", "max_tokens": 3, "temperature": 0}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", CHAT),
    "chat-stream": ("/chat/completions", CHAT | USAGE),
    "chat-logprobs": ("/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 2}),
    "chat-logprobs-stream": ("/chat/completions", CHAT | USAGE | {"logprobs": True, "top_logprobs": 2}),
    "chat-n": ("/chat/completions", CHAT | {"n": 2}),
    "chat-schema": ("/chat/completions", CHAT | {"response_format": FORMAT, "max_tokens": 40}),
    "chat-tools": ("/chat/completions", CHAT | {"tools": [TOOL], "tool_choice": "auto"}),
    "chat-bad-temperature": ("/chat/completions", CHAT | {"temperature": "hot"}),
    "completion": ("/completions", COMPLETION),
    "completion-stream": ("/completions", COMPLETION | USAGE),
    "embedding": ("/embeddings", {"model": ALIAS, "input": "the water"}),
    "embedding-base64": ("/embeddings", {"model": ALIAS, "input": ["the water", "a gate"], "encoding_format": "base64"}),
    "embedding-no-input": ("/embeddings", {"model": ALIAS}),
}


class Recording(NamedTuple):
    """One call of the engine."""

    name: str
    path: str
    request: dict[str, Any]
    status: int
    body: bytes


def recordings() -> Iterator[Recording]:
    """All recordings, by name."""
    for file in sorted(DIRECTORY.glob("*.txt")):
        head, _, body = file.read_bytes().partition(b"\n")
        told = json.loads(head)
        yield Recording(file.stem, told["path"], told["request"], told["status"], body)


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, running_engine(Path(temporary)) as base_url:
        for name, (path, request) in CALLS.items():
            call = urllib.request.Request(base_url + path, json.dumps(request).encode(), {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(call) as answer:
                    status, body = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, body = error.code, error.read()
            head = json.dumps({"path": path, "request": request, "status": status}).encode()
            (DIRECTORY / f"{name}.txt").write_bytes(head + b"\n" + body)


if __name__ == "__main__":
    main()
