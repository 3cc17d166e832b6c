"""Forward hooks that leave the passes of other threads alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def in_this_thread(hook: Callable[Arguments, Returned]) -> Callable[Arguments, Returned | None]:
    """Return a hook that acts in the current thread only; other threads may run the same modules meanwhile."""
    thread = threading.get_ident()

    @wraps(hook)
    def only_here(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned | None:
        return hook(*args, **kwargs) if threading.get_ident() == thread else None

    return only_here
