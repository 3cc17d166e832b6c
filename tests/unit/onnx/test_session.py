"""What ONNX Runtime opens, and what it must not open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import manyheads as mh
from manyheads.onnx.session import Session

WEIGHTS = np.arange(1024, dtype=np.float32)


def write_graph(folder: Path, data: str) -> Path:
    """Write a graph that adds weights from the file ``data`` to its input."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": data, "offset": "0", "length": str(WEIGHTS.nbytes)}.items():
        weights.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1024]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "adds", ends[:1], ends[1:], [weights])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_weights_in_the_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(WEIGHTS.tobytes())
    session = Session(write_graph(tmp_path, "data"), None, 1)
    assert (session.inputs, session.outputs) == ({"x"}, {"y": ["rows", 1024]})
    (found,) = session.run(["y"], {"x": np.ones((2, 1024), np.float32), "unknown": np.ones(1)})
    assert np.array_equal(found[1], WEIGHTS + 1)


def test_weights_outside_the_folder_are_not_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, outside = tmp_path / "export", tmp_path / "data"
    folder.mkdir()
    outside.write_bytes(WEIGHTS.tobytes())
    for place in ("../data", str(outside), "absent", "/dev/zero"):
        with pytest.raises(mh.errors.CorruptCheckpointError, match=r"model\.onnx: .*External data.*; export the model"):
            Session(write_graph(folder, place), None, 1)
    (folder / "link").symlink_to(outside)
    with pytest.raises(mh.errors.CorruptCheckpointError, match="copy the files that its links lead to"):
        Session(write_graph(folder, "link"), None, 1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("version", ["1.20.1", "1.23.2", "0.9"])
def test_a_version_that_reads_weights_outside_the_folder_is_too_old(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", version)
    with pytest.raises(mh.errors.MissingExtraError, match=rf"needs onnxruntime 1\.24 or later, this is {version}"):
        Session(write_graph(tmp_path, "data"), None, 1)


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_damaged_graph_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = write_graph(tmp_path, "data")
    (tmp_path / "data").write_bytes(WEIGHTS.tobytes())
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(mh.errors.CorruptCheckpointError, match=r"model\.onnx: ONNX Runtime cannot open it"):
        Session(path, None, 1)


def test_an_absent_provider_is_an_error_and_not_the_cpu_instead(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(WEIGHTS.tobytes())
    path = write_graph(tmp_path, "data")
    for absent in (["NoExecutionProvider", "CPUExecutionProvider"], [("NoExecutionProvider", {})], []):
        with pytest.raises(mh.errors.InputError, match=r"providers: .*'CPUExecutionProvider'"):
            Session(path, absent, None)
    assert Session(path, [("CPUExecutionProvider", {})], None).inputs == {"x"}


def test_an_input_of_another_shape_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_bytes(WEIGHTS.tobytes())
    session = Session(write_graph(tmp_path, "data"), None, 1)
    with pytest.raises(mh.errors.BackboneError, match=r"model\.onnx: ONNX Runtime cannot run it: .*") as caught:
        session.run(["y"], {"x": np.ones((2, 3), np.float32)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
