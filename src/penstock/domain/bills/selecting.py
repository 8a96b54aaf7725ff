"""Which charges of a bill are meant, by columns of FOCUS and by tags."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from penstock.domain.bills.focus import FocusRow, written
from penstock.domain.bills.focus_columns import COLUMN
from penstock.domain.dialects.content import normal_tag

_COLUMN_BY_WORD = {name.lower(): name for name in COLUMN}
_tag = lru_cache(10_000)(normal_tag)


class Selection(msgspec.Struct, frozen=True):
    """`where`: column or tag (as `selector` names them) -> the values that pass, sorted; all of them have to. `tags`: by which of their
    own tags charges are told apart, sorted."""

    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tags: tuple[str, ...] = ()

    def takes(self, row: FocusRow) -> bool:
        """Whether a charge is meant."""
        return all(_value(row, name) in values for name, values in self.where)

    def tags_of(self, row: FocusRow) -> dict[str, str]:
        """Those of `tags` that a charge carries, as text."""
        return {} if not self.tags or not row.tags else _tags(row.tags, self.tags)

    def excludes(self, other: "Selection") -> bool:
        """Whether no charge can be of both: they ask the same column for different values."""
        theirs = dict(other.where)
        return any(name in theirs and not {*values} & {*theirs[name]} for name, values in self.where)


def selector(text: str) -> str:
    """The name by which `where` knows a column of FOCUS (`ServiceName`, `service_name`), a custom one (`x_...`) or else a tag."""
    if text.lower().startswith("x_"):
        return text
    return _COLUMN_BY_WORD.get(text.lower().replace("_", "")) or normal_tag(text.removeprefix("tag:"))


def _value(row: FocusRow, name: str) -> str | None:
    if name in COLUMN:
        return written(row, COLUMN[name])
    if name.lower().startswith("x_"):
        return (row.x or {}).get(name)
    return _tags(row.tags or {}, (name,)).get(name)


def _tags(tags: Mapping[str, object], wanted: tuple[str, ...]) -> dict[str, str]:
    found = ((_tag(name), value) for name, value in tags.items())
    return {name: text for name, value in found if name in wanted and value is not None and (text := str(value).strip())}
