"""What files of a trace have in common: they may be compressed by gzip, and give the columns that are asked for."""

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from penstock.domain.simulation.trace import Ints, TraceError

if TYPE_CHECKING:
    import pyarrow

FORMS: Final = "CSV with a heading, Parquet and JSON lines can be read, each also as .gz"
_GZIP: Final = b"\x1f\x8b"
_INSTALL: Final = 'install the extra: `pip install "penstock[capacity]"`'


class Table(NamedTuple):
    """The columns that were asked for, by name; text as it stands in the file, other types as they are."""

    columns: "dict[str, pyarrow.ChunkedArray]"
    rows: Ints
    """the number of each row in its file, from 1, headings counted"""
    unread: dict[int, str]
    """rows that could not be taken apart, and why"""


class TableFile(Protocol):
    """A file whose heading has been read."""

    @property
    def header(self) -> Sequence[str]: ...

    def table(self, names: Sequence[str]) -> Table:
        """These columns of it. Raises `TraceError`, and `OSError` or `EOFError` where the file is damaged."""
        ...


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Its content, unzipped. Raises `OSError`, also later for what is no whole gzip file."""
    with path.open("rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not zipped:
            yield file
            return
        with gzip.open(file) as unzipped:
            yield cast(IO[bytes], unzipped)


def arrow(module: str) -> Any:
    """pyarrow, with this module of it. Raises `TraceError` when the extra is not installed."""
    try:
        import pyarrow

        import_module(f"pyarrow.{module}")
    except ImportError:
        raise TraceError("traces are read by pyarrow, which is not installed", _INSTALL) from None
    return pyarrow
