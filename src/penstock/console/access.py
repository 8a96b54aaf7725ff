"""Who may look at the console and change what it may change: whoever knows the admin key; without one, only somebody at this very machine.

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
METRICS_HINT = 'set `[auth] metrics_key = { env = "PENSTOCK_METRICS" }`, or `metrics = "open"` where a firewall keeps strangers away'
OPEN_HINT = 'set `[auth] admin_key = { env = "PENSTOCK_ADMIN" }`, or listen on 127.0.0.1'


class Denied(msgspec.Struct, frozen=True):
    """Why a request gets no page, and what would help."""

    status: int
    message: str
    hint: str


class Access:
    """The rule of one Penstock."""

    def __init__(self, admin_key: str | None, listen: str, *, metrics_key: str | None = None, open_metrics: bool = False) -> None:
        """`listen`: as in the config, `host:port`; it must be readable. `open_metrics`: whoever comes may read `/metrics`."""
        host, _ = endpoint(listen)
        self._key = None if admin_key is None else admin_key.encode()
        self._metrics_key = None if metrics_key is None else metrics_key.encode()
        self._open_metrics = open_metrics
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

    def metrics_refused(self, request: Request) -> tuple[int, str, str] | None:
        """Status, message and hint for whoever may not read `/metrics`; None for who may."""
        if self._open_metrics:
            return None
        keys = [key for key in (self._metrics_key, self._key) if key is not None]
        if not keys:
            return 403, "/metrics is closed: this address is not loopback, and there is no key for it", METRICS_HINT
        secret = _secret(request.header(b"authorization"))
        known = [compare_digest(secret, key) for key in keys]
        if any(known):
            return None
        return 401, "/metrics needs the metrics key, or the admin key", "send `authorization: Bearer` with it"

    def actor(self, request: Request) -> str:
        """Who asks, for the audit log: `http:admin`, with the user name that came with the key, which nobody has checked; `http:local`
        where there is no key to know."""
        if self._key is None:
            return "http:local"
        user = "".join(each for each in _user(request.header(b"authorization")) if each.isprintable())[:60].strip()
        return f"http:admin ({user})" if user else "http:admin"

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
    return value.strip() if scheme.lower() == b"bearer" else _basic(authorization)[1]


def _user(authorization: bytes | None) -> str:
    """The user name of `Basic`; empty for anything else."""
    return _basic(authorization)[0].decode("utf-8", "replace")


def _basic(authorization: bytes | None) -> tuple[bytes, bytes]:
    """User name and password; empty where the header is no `Basic`."""
    scheme, _, value = (authorization or b"").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return b"", b""
    try:
        user, _, password = b64decode(value.strip(), validate=True).partition(b":")
    except Base64Error:
        return b"", b""
    return user, password
