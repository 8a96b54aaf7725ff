"""Machine code that is older than any source of the kernel is thrown away: the compiler looks at one file only (see `compiled.py`)."""

from pathlib import Path

import penstock.domain.simulation as room

SOURCES = Path(room.__path__[0])

newest = max(source.stat().st_mtime for source in (*SOURCES.glob("engine*.py"), SOURCES / "compiled.py"))
for made in SOURCES.glob("__pycache__/*.nb[ci]"):
    if made.stat().st_mtime < newest:
        made.unlink(missing_ok=True)
