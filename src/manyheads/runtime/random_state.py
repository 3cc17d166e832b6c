"""A state of torch's random numbers beside the process's own.

Operations such as ``multinomial`` in other libraries' code draw from generators that all threads share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RandomState:
    """A state of the generators of the CPU and of a device, as after ``torch.manual_seed``.

    Args:
        device: The device.
        seed: The seed.

    Examples:
        >>> import torch
        >>> own, before = RandomState(torch.device("cpu"), 0), torch.get_rng_state()
        >>> with own.used():
        ...     first = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self._generators = _shared_generators(device)
        self._states = [torch.Generator(one.device).manual_seed(seed).get_state() for one in self._generators]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Draw random numbers from this state inside the ``with`` block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Inside a block of ``used``, draw from the process's own state for a while."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        outside: list[Tensor] = [generator.get_state() for generator in self._generators]
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)
        self._states = outside


def _shared_generators(device: torch.device) -> list[torch.Generator]:
    """Return the generators from which operations on the CPU and on a device draw."""
    if device.type == "cpu":
        return [torch.default_generator]
    module = torch.get_device_module(device)
    own = module.default_generators[module.current_device() if device.index is None else device.index]
    return [torch.default_generator, own]
