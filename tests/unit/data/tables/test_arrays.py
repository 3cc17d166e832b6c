"""Arrow arrays are those of ``pyarrow.array``, and need no pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from manyheads.data.tables.arrays import arrow_array

VALUES = {
    "strings": ["a", "", "Straße 😀", "b" * 300],
    "missing strings": [None, "a", None, *["b"] * 20],
    "no cells": [],
    "only missing": [None, None],
    "integers": [1, None, -3],
    "booleans": [True, False],
    "lists": [["a"], [], ["b", "c"]],
    "float32": np.array([0.5, np.nan], dtype=np.float32),
    "float64, strided": np.arange(6.0)[::2],
    "int64": np.arange(3),
    "no numbers": np.zeros(0),
    "bools": np.array([True, False, True]),
    "objects": np.array(["a", None], dtype=object),
}


@pytest.mark.parametrize("name", VALUES)
def test_an_array_is_that_of_pyarrow(name: str) -> None:
    found, expected = arrow_array(VALUES[name]), pa.array(VALUES[name])
    found.validate(full=True)
    assert found.type == expected.type
    assert found.null_count == expected.null_count
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize("values", [[], [None], ["a", None]])
def test_strings_of_a_given_type(values: list[str | None]) -> None:
    found = arrow_array(values, pa.string())
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.string()))


@pytest.mark.parametrize("values", [["a", 1], [1, "a"]])
def test_cells_of_several_types_raise(values: list[object]) -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        arrow_array(values)


def test_strings_and_numbers_import_no_pandas() -> None:
    code = (
        "import sys, numpy as np\n"
        "from manyheads.data.tables.arrays import arrow_array\n"
        "arrow_array(['a', None]), arrow_array(np.zeros(3, dtype=np.float32))\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
