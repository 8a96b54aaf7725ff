"""One question to an upstream, asked from the command line: which models do you serve?"""

import http.client
import ssl
import urllib.error
import urllib.request
from typing import Any

import msgspec

TIMEOUT_S = 5.0
MOST_BYTES = 4_000_000


class Unreachable(Exception):
    """The upstream gave no list of models; the message says why."""


class _Listed(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Listed] = []


def models_of(base_url: str, api_key: str | None = None, ca_file: str | None = None, *, anthropic: bool = False) -> list[str]:
    """Ids of `GET <base_url>/models`; an Anthropic upstream shows all of its models on one page of 1,000. Raises `Unreachable`."""
    address = base_url.rstrip("/") + ("/models?limit=1000" if anthropic else "/models")
    request = urllib.request.Request(address, headers={"accept": "application/json"})  # noqa: S310 checked address
    if anthropic:
        request.add_header("anthropic-version", "2023-06-01")
    if api_key and anthropic:
        request.add_header("x-api-key", api_key)
    elif api_key:
        request.add_header("authorization", f"Bearer {api_key}")
    try:
        # No proxies and no redirects: an upstream is called at its own address, and its key goes nowhere else.
        with _opener(ca_file).open(request, timeout=TIMEOUT_S) as answer:
            return [each.id for each in msgspec.json.decode(answer.read(MOST_BYTES), type=_Listing).data]
    except urllib.error.HTTPError as problem:
        raise Unreachable(f"answered {problem.code}{_why(problem.code)}") from None
    except (OSError, http.client.HTTPException, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        raise Unreachable(str(getattr(reason, "strerror", None) or reason or type(problem).__name__).lower()) from None
    except msgspec.MsgspecError:
        raise Unreachable("its answer is not a list of models") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(ca_file: str | None) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=ca_file)
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect())


def _why(status: int) -> str:
    return {401: ": the key is missing or wrong", 403: ": the key may not list models", 404: ": is the path of the address right?"}.get(
        status, ""
    )
