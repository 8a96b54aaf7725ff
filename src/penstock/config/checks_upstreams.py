"""Whether each upstream can be called as it is written."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from penstock.config.problems import Problem, error, join, warning
from penstock.config.settings import Settings, Upstream

_EXAMPLES = {"openai": "http://127.0.0.1:8000/v1", "anthropic": "https://api.anthropic.com/v1"}


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[upstreams.*]`."""
    for name, upstream in settings.upstreams.items():
        where = join("upstreams", name)
        yield from _kind_problems(where, upstream)
        for index, url in enumerate(upstream.base_urls):
            yield from url_problems(f"{where}.base_urls[{index}]", url)
        for stage in ("connect", "first_token", "idle"):
            if getattr(upstream.timeout, stage) <= 0:
                yield error(f"{where}.timeout.{stage}", "no call can be done in no time", 'write a time above 0, such as "30s"')


def _kind_problems(where: str, upstream: Upstream) -> Iterator[Problem]:
    if upstream.kind != "simulated" and not upstream.base_urls:
        yield error(f"{where}.base_urls", "an upstream needs an address", f'write base_urls = ["{_EXAMPLES[upstream.kind]}"]')
    if not upstream.speaks:
        yield error(f"{where}.speaks", "an upstream that speaks nothing cannot answer", 'write speaks = ["chat"], or "auto"')
    elif upstream.kind == "anthropic" and upstream.speaks != "auto" and "messages" not in upstream.speaks:
        yield warning(f"{where}.speaks", "Anthropic's API speaks `messages`", 'add it, or set kind = "openai"')
    if upstream.kind == "simulated" and upstream.base_urls:
        yield warning(f"{where}.base_urls", "a simulated upstream uses no address", 'remove it, or set kind = "openai"')
    if upstream.kind != "simulated" and upstream.simulated:
        yield warning(f"{where}.simulated", "these options need a simulated upstream", 'remove them, or set kind = "simulated"')


def url_problems(where: str, url: str) -> Iterator[Problem]:
    example = "write it like `http://127.0.0.1:8000/v1`"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        yield error(where, f"not an address: {problem}", example)
        return
    if parts.scheme not in ("http", "https") or not host or port == 0 or any(character.isspace() for character in url):
        yield error(where, "not an http or https address", example)
    elif parts.username is not None or parts.password is not None:
        yield error(where, "credentials do not belong in an address", 'use api_key = { env = "NAME" }')
    elif parts.query or parts.fragment:
        yield error(where, "an address has no `?` or `#` part", example)
    elif parts.path in ("", "/"):
        yield warning(where, "no path; most engines answer below `/v1`", f"write `{url.rstrip('/')}/v1`, if this one does")
