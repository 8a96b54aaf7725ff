"""`[telemetry]`: addresses and headers that cannot work are errors, what looks like a slip is a warning."""

import pytest

from penstock.config.checks_telemetry import problems
from penstock.config.load import parse
from penstock.config.secrets import missing_secrets


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ('traces = "http://127.0.0.1:4318"', []),
        ('traces = "http://127.0.0.1:4318"\nheaders = { authorization = { env = "KEY" }, x-tenant = "a" }', []),
        ('traces = "127.0.0.1:4318"', ["error telemetry.traces"]),
        ('traces = "http://me:secret@127.0.0.1:4318"', ["error telemetry.traces"]),
        ('traces = "http://127.0.0.1:4317"', ["warning telemetry.traces"]),
        ('headers = { x-tenant = "a" }', ["warning telemetry.headers"]),
        ('traces = "http://a"\nheaders = { "x tenant" = "a" }', ['error telemetry.headers."x tenant"']),
        ('traces = "http://a"\nheaders = { Content-Type = "a" }', ["error telemetry.headers.Content-Type"]),
        ('traces = "http://a"\nheaders = { api-key = "a" }', ["warning telemetry.headers.api-key"]),
    ],
)
def test_findings(table: str, found: list[str]) -> None:
    settings = parse(f"version = 1\n[telemetry]\n{table}\n", {})
    assert [f"{problem.severity} {problem.where}" for problem in problems(settings)] == found


def test_a_secret_header_must_be_set() -> None:
    settings = parse('version = 1\n[telemetry]\nheaders = { authorization = { env = "KEY" } }\n', {})
    assert [problem.where for problem in missing_secrets(settings, {})] == ["telemetry.headers.authorization"]
    assert missing_secrets(settings, {"KEY": "x"}) == []
