"""Tags as somebody tells them of a key or a cost: brought to their one spelling, or refused with what to do."""

from collections.abc import Mapping
from typing import Final

from penstock.config.problems import nearest
from penstock.config.settings import Settings
from penstock.domain.dialects.content import MAX_TAG_VALUE, allowed_value, normal_tag

MOST_TAGS: Final = 32
LONGEST_TAG: Final = 64


class TagError(Exception):
    """A tag that cannot be kept; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def told_tags(given: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Names normalised, values as `[tags] allowed` spells them. Raises `TagError`."""
    if len(given) > MOST_TAGS:
        raise TagError(f"{len(given)} tags were given, at most {MOST_TAGS} are kept", "give fewer tags")
    tags: dict[str, str] = {}
    for name, value in ((normal_tag(name.strip()), value.strip()) for name, value in given.items()):
        if not name or not value or len(name) > LONGEST_TAG or len(value) > MAX_TAG_VALUE:
            raise TagError(f"`{name[:64]}={value[:64]}` is not a tag", "write it like team=search")
        allowed = settings.tags.allowed.get(name)
        kept = value if allowed is None else allowed_value(value, allowed)
        if kept is None:
            raise TagError(f"tag `{name}` may not be `{value}`", nearest(value, allowed or (), "see [tags] allowed"))
        if tags.get(name, kept) != kept:
            raise TagError(f"tag `{name}` is given twice, and differently", "`-` and `_` are the same in names of tags")
        tags[name] = kept
    return tags
