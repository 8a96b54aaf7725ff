"""The console's own files: read once, named after their content, so that a browser may keep them for ever."""

import gzip
from hashlib import sha256
from importlib.resources import files

import msgspec

TYPES = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8", "svg": b"image/svg+xml"}


class Asset(msgspec.Struct, frozen=True):
    """One file as it is sent."""

    path: str
    content_type: bytes
    body: bytes
    gzipped: bytes


class Assets:
    """Every file of `static/` by its address."""

    def __init__(self) -> None:
        self._by_path: dict[str, Asset] = {}
        self._by_name: dict[str, Asset] = {}
        for file in files("penstock.console").joinpath("static").iterdir():
            stem, _, ending = file.name.rpartition(".")
            if ending in TYPES:
                body = file.read_bytes()
                path = f"/static/{stem}.{sha256(body).hexdigest()[:12]}.{ending}"
                asset = Asset(path, TYPES[ending], body, gzip.compress(body, 9, mtime=0))
                self._by_path[path] = self._by_name[file.name] = asset

    def find(self, path: str) -> Asset | None:
        """The file at an address; None for an address of another version."""
        return self._by_path.get(path)

    def address(self, name: str) -> str:
        """The address of a file by its plain name, for templates. Raises `KeyError`."""
        return self._by_name[name].path
