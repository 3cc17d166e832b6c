"""``serve``: a model as a server."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from os import PathLike

from manyheads.errors import ConfigError, MissingExtraError
from manyheads.runtime.collecting import uncollected_imports
from manyheads.server.json_log import log_as_json
from manyheads.server.process.address import check_reach, free_address
from manyheads.server.process.launch import Launch
from manyheads.server.process.threads import threads_of_worker
from manyheads.server.settings import ServerSettings

_NEEDED = ("fastapi", "granian", "prometheus_client")


def serve(
    model: str | PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    settings: ServerSettings | None = None,
    public_without_key: bool = False,
    trust_remote_code: bool = False,
) -> None:
    """Serve a saved model until SIGTERM or SIGINT, which let requests in flight be answered; SIGHUP reloads it.

    Logs are JSON on standard error, one object for each line.

    Args:
        model: Folder or hub id of a saved model.
        host: Where to listen: a name or an IP address; ``"0.0.0.0"`` for all of this machine.
        port: The port; 0 for any free one, which the first line names.
        workers: Number of processes. Each holds the model, and shares the cores with the others.
        settings: The key and the limits; the defaults by default.
        public_without_key: Whether other machines may reach a server without a key.
        trust_remote_code: Whether Python code in the checkpoint may run.

    Raises:
        ConfigError: the port is in use, or other machines would reach a server without a key.
        MissingExtraError: the extra ``serve`` is not installed.
        ManyheadsError: the model cannot be loaded or served.

    Examples:
        >>> from manyheads.server import serve
        >>> try:
        ...     serve("ads-model", host="0.0.0.0", port=0)
        ... except mh.errors.ConfigError as error:
        ...     print(str(error).partition(";")[0])
        --host 0.0.0.0: other machines may reach it, and there is no key
    """
    _check_extra()
    settings = ServerSettings() if settings is None else settings
    _check_workers(workers)
    address = free_address(host, port)
    check_reach(address, settings.api_key, public_without_key)
    launch = Launch(str(model), trust_remote_code, address, settings, threads_of_worker(workers))
    log_as_json()
    if workers > 1:
        from manyheads.server.process.supervisor import supervise

        supervise(launch, workers)
        return
    with uncollected_imports():
        from manyheads.server.process.worker import serve_alone

    serve_alone(launch)


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    if workers > 1 and sys.platform != "linux":
        raise ConfigError(f"--workers {workers}: more than one needs Linux; put a balancer before several servers")


def _check_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"The server needs the package {missing[0]!r}; install it with: pip install 'manyheads[serve]'"
        )
