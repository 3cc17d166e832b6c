"""A graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.errors import BackboneError, CorruptCheckpointError, InputError, listed, one_line
from manyheads.onnx.extras import import_extra

# A provider's name, or its name and its options.
Provider = str | tuple[str, Mapping[str, Any]]

_CPU: tuple[Provider, ...] = ("CPUExecutionProvider",)
# ONNX Runtime's own messages are errors that are raised here.
_ONLY_FATAL = 4


class Session:
    """A graph that is ready to run.

    Args:
        path: The file.
        providers: What runs it, in ONNX Runtime's names, the preferred one first; ``None`` for the CPU.
        threads: Number of threads; ``None`` for as many as there are cores.

    Attributes:
        path: The file.
        inputs: The names of its inputs.
        outputs: The shapes of its outputs, by name; a size that varies is not a number.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        InputError: a provider that it does not have.
        CorruptCheckpointError: it cannot read the graph or its weights, or the weights are outside the folder.
    """

    def __init__(self, path: Path, providers: Sequence[Provider] | None, threads: int | None) -> None:
        runtime = import_extra("onnxruntime")
        chosen = list(_CPU if providers is None else providers)
        _check_providers(chosen, runtime.get_available_providers())
        options = runtime.SessionOptions()
        options.log_severity_level = _ONLY_FATAL
        options.intra_op_num_threads = threads or 0
        # Threads that spin while they wait would take the processor from everything else on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:  # its errors have no common base
            raise CorruptCheckpointError(
                f"{path}: ONNX Runtime {runtime.__version__} cannot open it: {one_line(error)}; export again"
            ) from None
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


def _check_providers(chosen: Sequence[Provider], available: Sequence[str]) -> None:
    names = [item if isinstance(item, str) else item[0] for item in chosen]
    unknown = [name for name in names if name not in available]
    if unknown or not names:
        raise InputError(
            f"providers: this ONNX Runtime has {listed(available)}, got {listed(unknown)}; name one of these, or "
            "install the package of ONNX Runtime that has it"
        )
