"""The kernel's functions become machine code on their first call, and are kept beside the source (or in a cache of the user) for later.

What is kept is found by the function's own file and argument types. After a change of a function that another file's function calls, remove
`__pycache__/*.nb?` of this room (its tests do so by themselves); `State` keeps its name and place, for what is kept refers to it.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """`function` as machine code (numba). Error checks stay Python's: a division by zero raises."""
    try:
        return cast(Function, numba.njit(cache=True)(function))
    except RuntimeError:  # nowhere to keep it: every process compiles anew
        return cast(Function, numba.njit(function))
