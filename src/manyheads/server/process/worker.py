"""A process that loads a model and answers requests, alone or as one of several."""

from __future__ import annotations

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import torch

from manyheads.runtime.collecting import collect_and_freeze
from manyheads.server.app import ThisProcess, app_of
from manyheads.server.process.about import About, announce
from manyheads.server.process.launch import Launch
from manyheads.server.process.link import Link
from manyheads.server.process.listen import listen
from manyheads.server.process.siblings import Siblings
from manyheads.server.process.stopping import Stopping
from manyheads.server.reload import Reload
from manyheads.server.saved import SavedModel
from manyheads.server.served import Served, Serving
from manyheads.server.workers import Workers

# The event loop and the model's thread share Python's lock. The loop asks for it several times per request, and by
# default would wait up to 5 ms each time.
_SWITCH_SECONDS = 0.0005


def serve_alone(launch: Launch) -> None:
    """Load a model and answer requests until SIGTERM or SIGINT; SIGHUP reloads the model.

    Raises:
        BackboneError: the model has no tokenizer, or cannot be loaded.
        CheckpointError: its heads cannot be loaded.
        ConfigError: the port was taken meanwhile.
        HeadError: it has neither heads nor a language model.
    """
    asyncio.run(_alone(launch, _loaded(launch)))


def serve_beside(launch: Launch, connection: Connection) -> None:
    """Load a model and answer requests as one of several processes, until SIGTERM or the end of the one above.

    Args:
        launch: What to serve, and where.
        connection: To the process above, which started this one.

    Raises:
        BackboneError: the model has no tokenizer, or cannot be loaded.
        CheckpointError: its heads cannot be loaded.
        ConfigError: the port was taken meanwhile.
        HeadError: it has neither heads nor a language model.
    """
    asyncio.run(_beside(launch, _loaded(launch), connection))


def _loaded(launch: Launch) -> ThisProcess:
    sys.setswitchinterval(_SWITCH_SECONDS)
    if launch.threads is not None:
        torch.set_num_threads(launch.threads)
    saved = SavedModel(launch.model, launch.trust_remote_code)
    # A thread that has computed keeps threads of OpenMP. With more of them than cores, none waits actively for the next
    # kernel. So the thread that loads the model ends.
    with ThreadPoolExecutor(1, "manyheads-load") as loading:
        here = ThisProcess.of(loading.submit(Serving.opened, saved).result(), launch.settings)
    # A full collection would walk through them for a tenth of a second, in which no request is answered.
    collect_and_freeze()
    return here


async def _alone(launch: Launch, here: ThisProcess) -> None:
    workers, stopping = here.workers, Stopping(launch.settings.drain_seconds)
    stopping.on_signals(signal.SIGTERM, signal.SIGINT)
    _reload_on_hangup(workers)

    def listening() -> None:
        announce(_about(here.serving.current), launch.address.url, workers=1)

    await listen(app_of(here, launch.settings, workers), launch, stopping, listening)


async def _beside(launch: Launch, here: ThisProcess, connection: Connection) -> None:
    workers, stopping = here.workers, Stopping(launch.settings.drain_seconds)
    stopping.on_signals(signal.SIGTERM)
    is_listening = asyncio.Event()

    async def about() -> About:
        await is_listening.wait()
        return _about(here.serving.current)

    answers = {"about": about, "reload": workers.reload, "metrics": workers.metrics}
    link = Link(connection, answers, closed=stopping.begin)
    await listen(app_of(here, launch.settings, Siblings(link)), launch, stopping, is_listening.set)


def _reload_on_hangup(workers: Workers) -> None:
    loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[Reload]]()

    def reload() -> None:
        task = asyncio.ensure_future(workers.reload())
        reloads.add(task)  # the loop itself holds no reference
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)


def _about(served: Served) -> About:
    return About(tuple(served.core.heads), served.core.backbone.generates, served.fingerprint)
