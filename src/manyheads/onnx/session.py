"""A graph in ONNX Runtime."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.errors import BackboneError, CorruptCheckpointError, InputError, MissingExtraError, listed, one_line
from manyheads.onnx.extras import import_extra

# A provider's name, or its name and its options.
Provider = str | tuple[str, Mapping[str, Any]]

_CPU: tuple[Provider, ...] = ("CPUExecutionProvider",)
_LEAST_VERSION = (1, 24)
# ONNX Runtime's own messages are errors that are raised here.
_ONLY_FATAL = 4


class Session:
    """A graph that is ready to run.

    Args:
        path: The file.
        providers: What runs it, in ONNX Runtime's names, the preferred one first; ``None`` for the CPU.
        threads: Number of threads; ``None`` for as many as there are cores that this process may run on.

    Attributes:
        path: The file.
        inputs: The names of its inputs.
        outputs: The shapes of its outputs, by name; a size that varies is not a number.

    Raises:
        MissingExtraError: ONNX Runtime is not installed, or too old.
        InputError: a provider that it does not have.
        CorruptCheckpointError: it cannot read the graph or its weights, or the weights are outside the folder.
    """

    def __init__(self, path: Path, providers: Sequence[Provider] | None, threads: int | None) -> None:
        runtime = import_extra("onnxruntime")
        _check_version(runtime.__version__)
        chosen = list(_CPU if providers is None else providers)
        _check_providers(chosen, runtime.get_available_providers())
        options = runtime.SessionOptions()
        options.log_severity_level = _ONLY_FATAL
        options.intra_op_num_threads = _threads_by_default() if threads is None else threads
        # Threads that spin while they wait take the processor from everything else on the machine, and on a busy one
        # from each other: one text took 1.8 times as long, 32 texts 1.4 times.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:  # its errors have no common base
            linked = any(item.is_symlink() for item in path.parent.iterdir())
            step = "copy the files that its links lead to into a folder" if linked else "export the model again"
            raise CorruptCheckpointError(f"{path}: ONNX Runtime cannot open it: {one_line(error)}; {step}") from None
        self.path = path
        self.inputs = frozenset(item.name for item in self._session.get_inputs())
        self.outputs: dict[str, list[Any]] = {item.name: item.shape for item in self._session.get_outputs()}

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return some outputs of a batch.

        Args:
            outputs: Their names.
            inputs: Arrays by name; those that the graph does not have are left out.

        Raises:
            BackboneError: the graph cannot run on them.
        """
        feeds = {name: array for name, array in inputs.items() if name in self.inputs}
        try:
            found: list[np.ndarray] = self._session.run(list(outputs), feeds)
        except Exception as error:
            raise BackboneError(f"{self.path}: ONNX Runtime cannot run it: {one_line(error)}") from error
        return found


def _check_version(version: str) -> None:
    """Check that ONNX Runtime reads no weights outside the folder of the graph; earlier ones do.

    Raises:
        MissingExtraError: it is too old.
    """
    if tuple(int(part) for part in re.findall(r"[0-9]+", version)[:2]) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise MissingExtraError(
            f"mh.OnnxPredictor needs onnxruntime {least} or later, this is {version}; pip install --upgrade onnxruntime"
        )


def _threads_by_default() -> int:
    """Return the number of threads: 0, with which ONNX Runtime takes the physical cores and pins a thread to each,
    unless this process may not run on all cores."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if allowed is None or allowed == os.cpu_count() else allowed


def _check_providers(chosen: Sequence[Provider], available: Sequence[str]) -> None:
    names = [item if isinstance(item, str) else item[0] for item in chosen]
    unknown = [name for name in names if name not in available]
    if unknown or not names:
        raise InputError(
            f"providers: this ONNX Runtime has {listed(available)}, got {listed(unknown)}; name one of these, or "
            "install the package of ONNX Runtime that has it"
        )
