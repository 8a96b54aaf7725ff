"""Where an archive lies: a directory, or a bucket of an object store. A file appears whole or not at all.

Object stores are reached through pyarrow, with the usual `AWS_*` variables: keys, region, and `AWS_ENDPOINT_URL` for those that are not
Amazon's.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from penstock.ports.archive import ArchiveError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_S3 = "s3://"
_CHUNK = 8 * 2**20


class Place(Protocol):
    """Paths are relative, with `/`. All methods raise `ArchiveError`."""

    url: str
    filesystem: "FileSystem | None"
    """what reads it; None: plain files"""

    def publish(self, written: Path, path: str) -> None:
        """Moves a finished local file to its place, where it survives a power loss; what stood there is replaced."""

    def read(self, path: str) -> IO[bytes]:
        """Opens a file for reading."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def full(self, path: str) -> str:
        """The path as `filesystem` (or the system) knows it."""

    def scratch(self) -> Path:
        """A local directory in which files are written before they are published."""


def place_of(url: str, environ: Mapping[str, str] = os.environ) -> Place:
    """The place behind a URL: a path, `file:///path`, or `s3://bucket/prefix`. Raises `ArchiveError`."""
    if url.startswith(_S3):
        return Bucket(url, environ)
    kind, _, path = url.rpartition("://")
    if kind not in ("", "file") or not path:
        raise ArchiveError(f"there is no archive of the kind `{kind}://`", "write [archive] url as a directory or as `s3://bucket/prefix`")
    return Directory(Path(path))


class Directory:
    """Plain files below one directory, which is created when something is first written."""

    filesystem: "FileSystem | None" = None

    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = str(root)

    def publish(self, written: Path, path: str) -> None:
        target = self._root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with written.open("rb") as file:
                os.fsync(file.fileno())
            written.replace(target)
            for directory in (target.parent, target.parent.parent, self._root):
                _sync_directory(directory)
        except OSError as problem:
            raise _failed(self.url, problem) from problem

    def read(self, path: str) -> IO[bytes]:
        try:
            return (self._root / path).open("rb")
        except OSError as problem:
            raise _failed(self.url, problem) from problem

    def size(self, path: str) -> int | None:
        try:
            return (self._root / path).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise _failed(self.url, problem) from problem

    def full(self, path: str) -> str:
        return str(self._root / path)

    def scratch(self) -> Path:
        # On the same disk, so that publishing is a rename.
        directory = self._root / ".writing"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise _failed(self.url, problem) from problem
        return directory


class Bucket:
    """Objects of an S3-compatible store below `bucket/prefix`. What an upload that breaks off leaves behind is never entered."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        from pyarrow import fs

        address = urlsplit(url)
        self.url = url
        self._root = f"{address.netloc}{address.path}".rstrip("/")
        if not address.netloc:
            raise ArchiveError(f"`{url}` names no bucket", "write [archive] url as `s3://bucket/prefix`")
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
        scheme, _, host = endpoint.rpartition("://")
        self.filesystem: FileSystem | None = fs.S3FileSystem(
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
            endpoint_override=host.rstrip("/") or None,
            scheme=scheme or None,
            connect_timeout=10,
            request_timeout=60,
        )

    def publish(self, written: Path, path: str) -> None:
        assert self.filesystem is not None
        try:
            with written.open("rb") as source, self.filesystem.open_output_stream(self.full(path)) as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
        except OSError as problem:
            raise _failed(self.url, problem) from problem
        if self.size(path) != written.stat().st_size:
            raise ArchiveError(
                f"the archive {self.url} kept only a part of {path}",
                "look at the object store; the records are still in the ledger's store",
            )
        written.unlink()

    def read(self, path: str) -> IO[bytes]:
        assert self.filesystem is not None
        try:
            opened: IO[bytes] = self.filesystem.open_input_file(self.full(path))
        except OSError as problem:
            raise _failed(self.url, problem) from problem
        return opened

    def size(self, path: str) -> int | None:
        assert self.filesystem is not None
        try:
            info = self.filesystem.get_file_info(self.full(path))
        except OSError as problem:
            raise _failed(self.url, problem) from problem
        return info.size if info.is_file else None

    def full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def scratch(self) -> Path:
        from tempfile import gettempdir

        return Path(gettempdir())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(url: str, problem: OSError) -> ArchiveError:
    reason = " ".join(str(problem).split())[:500]
    return ArchiveError(f"the archive {url} failed: {reason}", "check [archive] url, and that this user may read and write there")
