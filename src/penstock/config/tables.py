"""What tables of penstock.toml are made of: frozen structs whose keys carry their line of the reference, and values with bounds."""

from typing import Annotated

import msgspec
from msgspec import Meta


def doc(text: str) -> Meta:
    """What a key means: shown in the reference, and by editors through the JSON Schema."""
    return Meta(description=text)


Fraction01 = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]
Condition = Annotated[str, Meta(pattern=r"^\s*(<=|>=|<|>)\s*[0-9.]+\s*$")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table: frozen, unknown keys are errors."""


class Secret(Table, frozen=True):
    """A secret by the name of the environment variable that holds it."""

    env: Annotated[str, doc("Name of the environment variable that holds the secret.")]
