"""Files that are no network, however they end, are refused before anything is said of them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from aroface.errors import InputError
from aroface.models.info import describe

FACES = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])


def graph(nodes: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto]) -> bytes:
    """A model of this graph, unchecked."""
    return bytes(helper.make_model(helper.make_graph(nodes, "g", [FACES], outputs)).SerializeToString())


SAME = helper.make_node("Identity", ["x"], ["y"])
NO_NETWORKS = {
    "nothing": (b"", "an empty file"),
    "half a field": (b"\x08", "no ONNX model"),
    "one field": (b"\x08\x07", "no ONNX model: its graph computes nothing"),
    "a field that is not known": (b"\xf8\x01\x00", "no ONNX model: its graph computes nothing"),
    "an empty graph": (graph([], []), "its graph computes nothing"),
    "an input that is the output": (graph([], [FACES]), "its graph computes nothing"),
    "no output": (graph([SAME], []), "its graph computes nothing"),
    "a text": (b"a text, not a network", "it seems to be a text file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "it seems to be an image"),
}


@pytest.mark.parametrize("name", NO_NETWORKS)
def test_what_is_no_network_is_one_line(name: str, tmp_path: Path) -> None:
    content, message = NO_NETWORKS[name]
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"model\.onnx: .*{message}"):
        describe(tmp_path / "model.onnx")
