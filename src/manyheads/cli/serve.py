"""``manyheads serve``."""

from __future__ import annotations

import os

from manyheads.cli.serve_options import ServeAddress, ServeLimits, ServeModel
from manyheads.errors import ConfigError
from manyheads.server.run import serve
from manyheads.server.settings import ServerSettings


def run_serve(source: ServeModel, address: ServeAddress, limits: ServeLimits) -> None:
    """Serve a model until it is interrupted."""
    settings = ServerSettings(
        api_key=_key(address.api_key_env),
        deadline_seconds=limits.deadline,
        max_body_bytes=limits.max_body,
        max_waiting=limits.max_waiting,
    )
    serve(
        source.model,
        address.host,
        address.port,
        limits.workers,
        settings,
        address.public_without_key,
        source.trust_remote_code,
    )


def _key(variable: str | None) -> str | None:
    """Return the key in an environment variable, where other users of the machine do not see it.

    Raises:
        ConfigError: the variable is not set, or empty.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"--api-key-env {variable}: the environment has no such variable, or it is empty; set it")
    return key
