"""The type checker of annotated shapes, for `--jaxtyping-packages`."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable) -> Callable:
    """The function with its types checked by a check that is made at the first call: most functions see none."""
    made: Callable | None = None

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal made
        if made is None:
            made = beartype(function)
        return made(*args, **kwargs)

    return call
