"""The server: every head, and the language model, over HTTP.

Needs the extra ``serve``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manyheads.errors import MissingExtraError
from manyheads.server.settings import ServerSettings

if TYPE_CHECKING:
    from manyheads.server.app import create_app
    from manyheads.server.run import serve

__all__ = ["ServerSettings", "create_app", "serve"]


_MODULES = {"create_app": "manyheads.server.app", "serve": "manyheads.server.run"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_MODULES[name]), name)
    except ImportError as error:
        if (error.name or "manyheads").startswith("manyheads"):
            raise
        raise MissingExtraError(
            f"The server needs the package {error.name!r}; install it with: pip install 'manyheads[serve]'"
        ) from error
