"""Keep the libraries below from talking between the demo's lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from manyheads.backbone.quiet import transformers_quiet
from manyheads.errors import ManyheadsWarning


@contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' messages and bars and other libraries' warnings, then put everything back."""
    with transformers_quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ManyheadsWarning)
        yield
