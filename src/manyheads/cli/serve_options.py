"""The options of ``manyheads serve``, a class for each panel of its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from manyheads.cli.option_groups import OptionGroup
from manyheads.cli.options import Model, RemoteCode


@dataclass(frozen=True)
class ServeModel(OptionGroup):
    """The model."""

    panel: ClassVar[str] = "Model"

    model: Model
    trust_remote_code: RemoteCode = False


@dataclass(frozen=True)
class ServeAddress(OptionGroup):
    """Where the server listens, and who may use it."""

    panel: ClassVar[str] = "Address"

    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Where to listen; 0.0.0.0 for all addresses of this machine.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="Port; 0 for any free one.", min=0, max=65535)] = (
        8000
    )
    api_key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env", metavar="NAME", help="Environment variable with the bearer token that requests must have."
        ),
    ] = None
    public_without_key: Annotated[
        bool, typer.Option("--public-without-key", help="Let other machines use a server that has no key.")
    ] = False


@dataclass(frozen=True)
class ServeLimits(OptionGroup):
    """How much work it takes."""

    panel: ClassVar[str] = "Limits"

    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes; each holds the model.", min=1)] = 1
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="SECONDS", help="Requests not answered by then get status 504.")
    ] = 60.0
    max_body: Annotated[int, typer.Option("--max-body", metavar="BYTES", help="Larger requests get status 413.")] = (
        4 << 20
    )
    max_waiting: Annotated[
        int,
        typer.Option("--max-waiting", metavar="N", help="Requests that may wait for answers; others get status 429."),
    ] = 256
