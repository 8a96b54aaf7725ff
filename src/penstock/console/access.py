"""Who may look at the console: whoever knows the admin key; without one, only somebody at this very machine.

On a loopback address without a key, a page of the web could still reach the console through its reader's browser (DNS
rebinding), so the name that the browser asked for has to be one of this machine's own.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from hmac import compare_digest
from ipaddress import ip_address

import msgspec

from penstock.config.checks_server import endpoint, is_loopback
from penstock.wire.message import Request

CHALLENGE = (b"www-authenticate", b'Basic realm="Penstock console (any user, the admin key as password)", charset="UTF-8"')
OPEN_HINT = 'set `[auth] admin_key = { env = "PENSTOCK_ADMIN" }`, or listen on 127.0.0.1'


class Denied(msgspec.Struct, frozen=True):
    """Why a request gets no page, and what would help."""

    status: int
    message: str
    hint: str


class Access:
    """The rule of one Penstock."""

    def __init__(self, admin_key: str | None, listen: str) -> None:
        """`listen`: as in the config, `host:port`; it must be readable."""
        host, _ = endpoint(listen)
        self._key = None if admin_key is None else admin_key.encode()
        self._host = host.lower()
        self._local = is_loopback(host)

    def denied(self, request: Request) -> Denied | None:
        """None for somebody who may look."""
        if self._key is not None:
            if compare_digest(_secret(request.header(b"authorization")), self._key):
                return None
            return Denied(401, "the console needs the admin key", "any user name, the admin key as password; or `Authorization: Bearer`")
        if not self._local:
            return Denied(403, "the console is closed: this address is not loopback, and there is no admin key", OPEN_HINT)
        asked = request.header(b"host")
        if asked is None or self._is_own(asked.decode("latin-1")):
            return None
        return Denied(403, "the console answers to this machine's own names only", "open it as http://localhost or http://127.0.0.1")

    def _is_own(self, asked: str) -> bool:
        try:
            host, _ = endpoint(asked if asked.rpartition(":")[2].isdigit() and not asked.endswith("]") else f"{asked}:80")
        except ValueError:
            return False
        if host in (self._host, "localhost"):
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False


def _secret(authorization: bytes | None) -> bytes:
    """The key in an `authorization` header: the token of `Bearer`, the password of `Basic`; empty for anything else."""
    scheme, _, value = (authorization or b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2]
    except Base64Error:
        return b""
