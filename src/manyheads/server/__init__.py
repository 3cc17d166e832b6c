"""The server: every head, and the language model, over HTTP.

Needs the extra ``serve``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manyheads.errors import MissingExtraError
from manyheads.server.settings import ServerSettings

if TYPE_CHECKING:
    from manyheads.server.app import create_app
    from manyheads.server.run import serve

__all__ = ["ServerSettings", "create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name == "serve":
        from manyheads.server.run import serve

        return serve
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from manyheads.server.app import create_app
    except ImportError as error:
        if (error.name or "manyheads").startswith("manyheads"):
            raise
        raise MissingExtraError(
            f"The server needs the package {error.name!r}; install it with: pip install 'manyheads[serve]'"
        ) from error
    return create_app
