import errno
import os

import pytest
import torch

from aroface.errors import InputError
from aroface.models import checkpoint
from aroface.models.checkpoint import load_foreign, load_weights, read_weights, save_weights
from aroface.models.registry import build


class _Executed:
    """Touches a file when it is unpickled by a reader that executes."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return build("r8s4", 16)


def test_weights_come_back_bit_for_bit_with_their_metadata(tmp_path, small):
    path = tmp_path / "model.safetensors"
    save_weights(path, small, {"arch": "r8s4", "run": "a run"})
    torch.manual_seed(1)
    other = build("r8s4", 16)
    assert load_weights(path, other, "r8s4") == {"arch": "r8s4", "run": "a run"}
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in small.state_dict().items())


def test_the_same_weights_give_the_same_bytes(tmp_path, small):
    for name in ("a", "b"):
        save_weights(tmp_path / name, small, {"run": "x", "arch": "r8s4"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_of_another_architecture_names_file_key_and_both_architectures(tmp_path, small):
    path = tmp_path / "model.safetensors"
    save_weights(path, small, {"arch": "r8s4"})
    line = r"model\.safetensors: conv1\.weight: shape .* instead of \(64, 3, 3, 3\); expected .* of r18, not of r8s4"
    with pytest.raises(InputError, match=line):
        load_weights(path, build("r18", 16, input_size=16), "r18")


def test_a_missing_key_is_named_and_the_model_left_alone(tmp_path, small):
    path = tmp_path / "model.safetensors"
    save_weights(path, torch.nn.Linear(2, 2), {})
    before = {name: value.clone() for name, value in small.state_dict().items()}
    with pytest.raises(InputError, match=r"conv1\.weight: missing; expected a checkpoint of r8s4"):
        load_weights(path, small, "r8s4")
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_a_key_too_many_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(path, torch.nn.Linear(2, 2), {})
    with pytest.raises(InputError, match="bias: not part of the model"):
        load_weights(path, torch.nn.Linear(2, 2, bias=False))


def test_a_truncated_file_is_one_line(tmp_path, small):
    path = tmp_path / "model.safetensors"
    save_weights(path, small, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors: no safetensors"):
        read_weights(path)


def test_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="absent: no such file"):
        read_weights(tmp_path / "absent")
    with pytest.raises(InputError, match="absent: no such file"):
        load_foreign(tmp_path / "absent")


def test_a_full_disk_leaves_the_previous_weights_good(tmp_path, small, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_weights(path, small, {"arch": "r8s4"})
    before = path.read_bytes()

    def full(state, target, metadata):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left"):
        save_weights(path, small, {"arch": "r8s4"})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("arch", ["r8s4", "mbf"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_plain_state_dict_tells_its_architecture(tmp_path, arch, prefix):
    state = build(arch, 24).state_dict()
    path = tmp_path / "model.pt"
    torch.save({prefix + name: value for name, value in state.items()}, path)
    found = load_foreign(path)
    assert (found.arch, found.embedding_size, found.layout, found.color) == (arch, 24, "insightface", "RGB")
    build(found.arch, 24).load_state_dict(found.state)
    assert all(torch.equal(value, found.state[name]) for name, value in state.items())


def test_the_state_of_a_training_and_safetensors_are_read_too(tmp_path, small):
    state = small.state_dict()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    content = {"epoch": 3, "global_step": 7, "state_dict_backbone": wrapped, "state_dict_softmax_fc": {}}
    torch.save({**content, "state_optimizer": {"state": {}, "param_groups": []}}, tmp_path / "checkpoint_gpu_0.pt")
    save_weights(tmp_path / "backbone.safetensors", small, {})
    for name in ("checkpoint_gpu_0.pt", "backbone.safetensors"):
        found = load_foreign(tmp_path / name)
        assert found.arch == "r8s4"
        assert all(torch.equal(value, found.state[key]) for key, value in state.items())


@pytest.mark.parametrize("arch", ["r8s4", "mbf"])
def test_weights_for_bgr_come_back_for_rgb(tmp_path, arch):
    torch.manual_seed(0)
    model = build(arch, 16).eval()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    found = load_foreign(tmp_path / "model.pt", "BGR")
    assert found.color == "BGR"
    other = build(arch, 16).eval()
    other.load_state_dict(found.state)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        expected, embeddings, unflipped = model(images.flip(1)), other(images), model(images)
    assert float((embeddings - expected).norm() / expected.norm()) < 1e-6
    assert float((embeddings - unflipped).norm() / expected.norm()) > 1e-3


def test_a_weight_that_is_not_finite_is_named(tmp_path, small):
    state = {name: value.clone() for name, value in small.state_dict().items()}
    state["layer2.0.bn1.running_var"][3] = float("nan")
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: layer2\.0\.bn1\.running_var: not finite"):
        load_foreign(tmp_path / "model.pt")


def test_iresnets_that_differ_in_depth_only_are_told_apart(tmp_path):
    with torch.device("meta"):
        state = build("r34").state_dict()
    path = tmp_path / "backbone.pth"
    # One element behind every tensor: the shapes are real, the file is small.
    torch.save({name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in state.items()}, path)
    assert load_foreign(path).arch == "r34"


def test_a_state_dict_that_fits_nothing_names_the_first_difference_from_the_nearest(tmp_path, small):
    state = small.state_dict()
    state["layer2.0.conv1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: layer2\.0\.conv1\.weight: shape \(3,\).*checkpoint of r8s4"):
        load_foreign(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"epoch": 1}, "holds more than tensors"),
        ([torch.zeros(1)], "holds more than tensors"),
        ({"state_dict": {"model.a": 1}}, "holds more than tensors"),
        ({"state_dict": {"head.kernel": torch.zeros(1)}}, "holds no tensor"),
        ({}, "holds no tensor"),
        ({"a": torch.zeros(1)}, r"features\.bias: no last batch norm"),
    ],
)
def test_other_content_is_one_line(tmp_path, content, line):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=line):
        load_foreign(tmp_path / "model.pt")


def test_nothing_in_a_foreign_file_is_executed(tmp_path):
    touched = tmp_path / "touched"
    torch.save({"conv1.weight": _Executed(touched)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="holds more than tensors"):
        load_foreign(tmp_path / "model.pt")
    assert not touched.exists()


def test_system_modules_are_refused(tmp_path):
    torch.save({"conv1.weight": os.getcwd}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"cannot be read safely .*posix"):
        load_foreign(tmp_path / "model.pt")


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"model\.pt: cannot be read safely"):
        load_foreign(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_program_is_told_from_weights(tmp_path, name):
    (tmp_path / name).write_bytes(b"a program")
    with pytest.raises(InputError, match=f"{name}: a program, not weights; expected a state dict"):
        load_foreign(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        load_foreign(tmp_path / f"absent-{name}")
