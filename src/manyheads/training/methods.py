"""The training methods by name."""

from __future__ import annotations

from importlib import import_module

from manyheads.errors import MethodError, did_you_mean, listed
from manyheads.training.method import Method

# Module and class of each method; all but the first are slow to import.
METHODS = {
    "frozen": ("manyheads.training.frozen.method", "Frozen"),
    "fork": ("manyheads.training.tuning.fork", "Fork"),
    "full": ("manyheads.training.tuning.full", "Full"),
    "lora": ("manyheads.training.tuning.lora", "LoRA"),
    "auto": ("manyheads.training.auto.method", "Auto"),
}
DEFAULT = "frozen"

_RULE = f"method must be one of {listed(METHODS)} or an object such as Frozen()"


def method_class(name: str) -> type[Method]:
    """Return the class of the method with a name in ``METHODS``."""
    module, cls = METHODS[name]
    found: type[Method] = getattr(import_module(module), cls)
    return found


def as_method(method: Method | type[Method] | str | None) -> Method:
    """Return a training method from an object, a class or a name; the default one for ``None``.

    Raises:
        MethodError: anything else.
    """
    if isinstance(method, Method):
        return method
    if method is None or isinstance(method, str):
        name = DEFAULT if method is None else method.lower()
        if name not in METHODS:
            raise MethodError(f"{_RULE}, got {method!r}{did_you_mean(name, METHODS).rstrip('.')}")
        return method_class(name)()
    if isinstance(method, type) and issubclass(method, Method):
        return method()
    raise MethodError(f"{_RULE}, got {method!r:.100}")
