"""A simulation asked for on its page: the ledger's requests on other hardware, run beside the controller, kept, and shown."""

from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

import msgspec

from penstock.console.posting import FORM, Table, kind_of
from penstock.console.replies import Reply, Writer
from penstock.ports.usage_store import StoreError
from penstock.wire.message import Request

PATH = "/simulation/run"
MOST_FIELDS = 16


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be simulated, in the words of `penstock simulate`."""

    model: str
    gpu: str
    since: str = "24h"
    """window of the ledger"""
    policies: str = "queue, forecast"
    """names, between commas or spaces"""
    slo: str = "ttft_p95=2s"
    where: str = ""


class Refused(Exception):
    """A wish that cannot be met; the message says why, `hint` what would help, `busy` that it may be asked again in a moment."""

    def __init__(self, message: str, hint: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.hint, self.busy = hint, busy


def simulation_posts(run: Callable[[Wish], str]) -> Table:
    """`run` simulates, keeps what it found, and tells its id; it raises `Refused` and `StoreError`."""

    def asked(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        """The id of the run: 200; to a form the way to its page: 303."""
        html = kind_of(request) == FORM
        try:
            id = run(_wish(request))
        except Refused as problem:
            return writer.problem(429 if problem.busy else 400, str(problem), problem.hint, html=html, back="/simulation")
        except msgspec.ValidationError as problem:
            return writer.problem(400, str(problem), "say at least a model and a GPU", html=html, back="/simulation")
        except (msgspec.DecodeError, ValueError):
            return writer.problem(400, "the body cannot be read", 'send {"model": "llama-3.1-8b", "gpu": "L40S"}', html=html)
        except StoreError as problem:
            return writer.problem(503, str(problem), problem.hint, html=html)
        return writer.back(f"/simulation/{id}") if html else writer.data(200, msgspec.json.encode({"id": id}))

    return {PATH: asked}


def _wish(request: Request) -> Wish:
    if kind_of(request) != FORM:
        return msgspec.json.decode(request.body, type=Wish)
    fields = parse_qs(request.body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    return msgspec.convert({key: values[-1].strip() for key, values in fields.items()}, Wish)
