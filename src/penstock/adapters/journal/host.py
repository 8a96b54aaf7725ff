"""The name of a host in what hosts share: kept beside its journal, so that it stays, whatever the machine is called next time."""

import os
from pathlib import Path
from uuid import uuid4

from penstock.ports.journal import JournalError

_HINT = "let this user read and write [server] journal"


def host_of(directory: str | Path) -> str:
    """The name; the first who asks makes it. Raises `JournalError`."""
    path = Path(directory) / "host"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".host.{os.getpid()}")
        if not path.exists():
            hidden.write_text(f"host-{uuid4().hex[:12]}\n")
            try:
                path.hardlink_to(hidden)
            except FileExistsError:
                pass  # another process was first
            finally:
                hidden.unlink()
        return path.read_text().strip()
    except OSError as problem:
        raise JournalError(
            f"the name of this host cannot be kept in {path}: {(problem.strerror or str(problem)).lower()}", _HINT
        ) from problem
