import errno
import os
import pickle
import random
import re
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from aroface.errors import InputError
from aroface.models import checkpoint
from aroface.models.checkpoint import load_released, load_weights, read_weights, save_weights
from aroface.models.layouts import find_backbone
from aroface.models.registry import build
from aroface.models.unpickle import read_torch_file
from aroface.onnx_program import read_graph


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
        load_released(tmp_path / "absent")


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
    found = load_released(path)
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
        found = load_released(tmp_path / name)
        assert found.arch == "r8s4"
        assert all(torch.equal(value, found.state[key]) for key, value in state.items())


@pytest.mark.parametrize("arch", ["r8s4", "mbf"])
def test_weights_for_bgr_come_back_for_rgb(tmp_path, arch):
    torch.manual_seed(0)
    model = build(arch, 16).eval()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    found = load_released(tmp_path / "model.pt", "BGR")
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
        load_released(tmp_path / "model.pt")


def test_iresnets_that_differ_in_depth_only_are_told_apart(tmp_path):
    with torch.device("meta"):
        state = build("r34").state_dict()
    path = tmp_path / "backbone.pth"
    # One element behind every tensor: the shapes are real, the file is small.
    torch.save({name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in state.items()}, path)
    assert load_released(path).arch == "r34"


def test_a_state_dict_that_fits_nothing_names_the_first_difference_from_the_nearest(tmp_path, small):
    state = small.state_dict()
    state["layer2.0.conv1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: layer2\.0\.conv1\.weight: shape \(3,\).*checkpoint of r8s4"):
        load_released(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"epoch": 1}, r"holds no tensor \(keys: epoch\)"),
        ([torch.zeros(1)], "holds a list; expected a state dict"),
        (torch.zeros(1), "holds a Tensor; expected a state dict"),
        ({"state_dict": {"model.a": 1}}, r"holds no tensor \(keys: state_dict\)"),
        ({"state_dict": {"head.kernel": torch.zeros(1)}}, r"1 tensors below 'state_dict' \(head\.kernel …\)"),
        ({}, r"holds no tensor \(keys: none\)"),
        ({"a": torch.zeros(1)}, "no backbone that is known here"),
        ({"layer1.0.conv1.weight": torch.zeros(1)}, r"features\.bias: no last batch norm"),
        ({"a.": {"layer1.0.conv1.weight": torch.zeros(1)}, "b": {"layer1.0.conv1.weight": torch.zeros(1)}}, "several"),
    ],
)
def test_other_content_is_one_line(tmp_path, content, line):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=line):
        load_released(tmp_path / "model.pt")


def _wrapped(state, *prefixes, key=None, **others):
    """A state dict with prefixes before its names, the outermost first, perhaps below keys of a training's state."""
    state = {f"{''.join(prefixes)}{name}": value for name, value in state.items()} | others
    for name in reversed((key or "").split(".") if key else ()):
        state = {name: state, "epoch": 3, "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}}}
    return state


PREFIXES = [
    *((), ("module.",), ("backbone.",), ("_orig_mod.",), ("model.net.",), ("net.",), ("features.module.",)),
    *(("module.", "_orig_mod."), ("_orig_mod.", "module."), ("module.", "backbone."), ("model.", "backbone.")),
]


@pytest.mark.parametrize("arch", ["r8s4", "mbf", "ir18"])
@pytest.mark.parametrize("key", [None, "state_dict", "model", "state_dict_backbone", "checkpoint.net"])
def test_a_backbone_is_found_in_any_wrapping(tensors, arch, key):
    state = tensors[arch]
    for prefixes in PREFIXES:
        for others in ({}, {"fc_of_classes.weight": torch.zeros(9, 16)} if prefixes else {}):
            found = find_backbone(_wrapped(state, *prefixes, key=key, **others), Path("model.pt"))
            assert found.left_out == tuple(others)
            assert found.tensors.keys() == state.keys()
            assert all(found.tensors[name] is value for name, value in state.items())


@pytest.mark.parametrize(("arch", "name"), [("r8s4", "r8s4"), ("mbf", "mbf"), ("ir18", "r18")])
def test_a_wrapped_backbone_tells_its_architecture(tmp_path, tensors, arch, name):
    torch.save(_wrapped(tensors[arch], "module.", "backbone.", key="state_dict"), tmp_path / "model.pt")
    assert load_released(tmp_path / "model.pt", "RGB").arch == name


@pytest.fixture(scope="module")
def tensors():
    """State dicts of a network of each family; large tensors have one element, so that files are small."""
    states = {arch: build(arch, 16).state_dict() for arch in ("r8s4", "mbf")}
    return {**states, "ir18": ir_state()}


def ir_state(width=16):
    """State dict of AdaFace's, TFace's and CVLface's IR-18."""
    state = {}

    def norm(name, channels, affine=True):
        for leaf in ("weight", "bias") if affine else ():
            state[f"{name}.{leaf}"] = torch.zeros(()).expand(channels)
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.zeros(2, 1).expand(2, channels)
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)

    def convolution(name, *shape):
        state[f"{name}.weight"] = torch.ones(()).expand(shape)

    state["input_layer.0.weight"] = torch.rand(64, 3, 3, 3)
    norm("input_layer.1", 64)
    convolution("input_layer.2", 64)
    block, before = 0, 64
    for channels in (64, 128, 256, 512):
        for _ in range(2):
            at = f"body.{block}"
            if before != channels:
                convolution(f"{at}.shortcut_layer.0", channels, before, 1, 1)
                norm(f"{at}.shortcut_layer.1", channels)
            norm(f"{at}.res_layer.0", before)
            convolution(f"{at}.res_layer.1", channels, before, 3, 3)
            norm(f"{at}.res_layer.2", channels)
            convolution(f"{at}.res_layer.3", channels)
            convolution(f"{at}.res_layer.4", channels, channels, 3, 3)
            norm(f"{at}.res_layer.5", channels)
            block, before = block + 1, channels
    norm("output_layer.0", 512)
    convolution("output_layer.3", width, 512 * 49)
    state["output_layer.3.bias"] = torch.zeros(width)
    norm("output_layer.4", width, affine=False)
    return state


@pytest.mark.parametrize("arch", ["r8s4", "mbf", "ir18"])
def test_counters_of_batch_norm_may_be_missing(tmp_path, tensors, arch):
    state = {name: value for name, value in tensors[arch].items() if not name.endswith("num_batches_tracked")}
    assert len(state) < len(tensors[arch])
    torch.save(state, tmp_path / "model.pt")
    found = load_released(tmp_path / "model.pt", "RGB")
    build(found.arch, 16).load_state_dict(found.state)


def test_an_average_beside_the_weights_is_not_taken_for_them(tmp_path, small, capsys):
    state = small.state_dict()
    average = {name: value * 0 for name, value in state.items()}
    torch.save({"model": state, "model_ema": average}, tmp_path / "model.pt")
    assert torch.equal(load_released(tmp_path / "model.pt").state["conv1.weight"], state["conv1.weight"])
    assert "model.pt: weights are taken from 'model', not from 'model_ema'\n" in capsys.readouterr().err
    assert load_released(tmp_path / "model.pt").classifier is None, "no layer of the average is taken for one"
    assert "classifier" not in capsys.readouterr().err
    torch.save({"ema": average}, tmp_path / "model.pt")
    assert not load_released(tmp_path / "model.pt").state["conv1.weight"].any()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("prefix", "key", "config", "color", "words"),
    [
        ("model.", "state_dict", None, "BGR", "as AdaFace's Lightning checkpoints are"),
        ("", None, None, None, "does not tell the order of its colour channels; expected --color BGR"),
        ("net.", None, None, None, "does not tell the order of its colour channels; expected --color BGR"),
        ("net.", "state_dict", None, None, "does not tell the order of its colour channels; expected --color BGR"),
        ("net.", None, ("model.yaml", "color_space: 'RGB'"), "RGB", "as model.yaml says"),
        ("model.net.", None, ("config.json", '{"conf": {"color_space": "BGR"}}'), "BGR", "as config.json says"),
        ("model.", "state_dict", ("config.json", '{"color_space": "RGB"}'), "RGB", "as config.json says"),
        ("net.", None, ("config.json", '{"conf": []}'), None, "does not tell the order"),
        ("net.", None, ("config.json", '{"color_space": ["RGB"]}'), None, "color_space: .*expected RGB or BGR"),
        (
            "net.",
            None,
            ("config.json", "[" * 100_000),
            None,
            "config.json: more than 64 levels of brackets; .*order of the channels",
        ),
        ("net.", None, ("model.yaml", "{"), None, "model.yaml: .*not YAML .*the order of the channels"),
    ],
)
def test_the_order_of_colours_of_ir_networks_is_told_or_asked(tmp_path, tensors, prefix, key, config, color, words):
    torch.save(_wrapped(tensors["ir18"], prefix, key=key), tmp_path / "model.pt")
    if config is not None:
        (tmp_path / config[0]).write_text(config[1])
    if color is None:
        with pytest.raises(InputError, match=words):
            load_released(tmp_path / "model.pt")
    else:
        found = load_released(tmp_path / "model.pt")
        assert (found.color, found.color_source[: len(words)]) == (color, words)
        expected = tensors["ir18"]["input_layer.0.weight"]
        assert torch.equal(found.state["conv1.weight"], expected if color == "RGB" else expected.flip(1))
    assert load_released(tmp_path / "model.pt", "BGR").color == "BGR", "what the user says goes before"


@pytest.mark.parametrize("place", ["pretrained_model/model.pt", "model.safetensors"])
def test_a_folder_of_hugging_face_is_read_with_its_config(tmp_path, tensors, place):
    folder = tmp_path / "cvlface"
    (folder / "pretrained_model").mkdir(parents=True)
    (folder / "config.json").write_text('{"conf": {"color_space": "BGR", "name": "ir18"}}')
    if place.endswith("pt"):
        torch.save(_wrapped(tensors["ir18"], "net."), folder / place)
    else:
        state = {name: value.contiguous() for name, value in _wrapped(tensors["ir18"], "model.net.").items()}
        save_file(state, folder / place)
    found = load_released(folder)
    assert (found.arch, found.color, found.file) == ("r18", "BGR", folder / place)
    (folder / place).unlink()
    with pytest.raises(InputError, match="cvlface: a folder without weights; expected a finished run, or"):
        load_released(folder)


class AttributeDict(dict):
    """As Lightning's: a dictionary with attributes."""

    def __getattr__(self, name):
        return self[name]


class ListOfClasses(list):
    """Any subclass of a list."""


class Settings:
    """Any object with a state."""

    def __init__(self):
        self.rate = 0.1


def test_subclasses_of_dictionaries_and_lists_are_read_as_what_they_are(tmp_path, small):
    state = small.state_dict()
    content = {
        "hyper_parameters": AttributeDict(lr=0.1, inner=AttributeDict(classes=ListOfClasses([1, 2]))),
        "args": Settings(),
        "callbacks": ListOfClasses([Settings()]),
        "state_dict": AttributeDict(_wrapped(state, "model.")),
    }
    torch.save(content, tmp_path / "model.ckpt")
    read = read_torch_file(tmp_path / "model.ckpt")
    assert read["hyper_parameters"] == {"lr": 0.1, "inner": {"classes": [1, 2]}}
    assert type(read["hyper_parameters"]).__module__ != __name__
    assert torch.equal(load_released(tmp_path / "model.ckpt").state["conv1.weight"], state["conv1.weight"])


def test_a_pickled_model_is_told_from_weights(tmp_path, small):
    torch.save(small, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"a pickled object of aroface\.models\.iresnet\.IResNet.*save its state_dict"):
        load_released(tmp_path / "model.pt")


class Wrapped(torch.nn.Module):
    """A backbone with something before it, as people trace it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, images):
        return torch.nn.functional.normalize(self.backbone(images))


@pytest.mark.filterwarnings("ignore")
def test_the_weights_of_a_torchscript_program_are_read_and_nothing_of_it_runs(tmp_path, small, monkeypatch):
    images = torch.zeros(1, 3, 112, 112)
    torch.jit.trace(Wrapped(small).eval(), images).save(tmp_path / "traced.pt")
    monkeypatch.setattr(torch.jit, "load", None)
    found = load_released(tmp_path / "traced.pt")
    assert found.arch == "r8s4"
    assert all(torch.equal(found.state[name], value) for name, value in small.state_dict().items())
    torch.jit.save(torch.jit.freeze(torch.jit.trace(small.eval(), images)), tmp_path / "frozen.pt")
    with pytest.raises(
        InputError, match=r"frozen\.pt: a TorchScript program, without named weights; .*export that to ON"
    ):
        load_released(tmp_path / "frozen.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "linear.pt")
    with pytest.raises(InputError, match=r"linear\.pt: no backbone that is known here: 2 tensors"):
        load_released(tmp_path / "linear.pt")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", range(24))
def test_a_damaged_torchscript_program_is_one_line(tmp_path, small, change):
    torch.jit.trace(small.eval(), torch.zeros(1, 3, 112, 112)).save(tmp_path / "traced.pt")
    rng = random.Random(change)
    with zipfile.ZipFile(tmp_path / "traced.pt") as whole, zipfile.ZipFile(tmp_path / "damaged.pt", "w") as damaged:
        for name in whole.namelist():
            content = bytearray(whole.read(name))
            if name.endswith("data.pkl"):
                for _ in range(1 + change):
                    content[rng.randrange(len(content))] = rng.randrange(256)
            damaged.writestr(name, bytes(content))
    try:
        load_released(tmp_path / "damaged.pt")
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 700


class _Reduced:
    """An object that a program may not make."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_a_torchscript_program_is_executed(tmp_path):
    with zipfile.ZipFile(tmp_path / "made_up.pt", "w") as file:
        file.writestr("made_up/data.pkl", pickle.dumps({"weight": _Reduced(tmp_path / "touched")}, protocol=2))
        file.writestr("made_up/constants.pkl", pickle.dumps(()))
    with pytest.raises(InputError, match="a TorchScript program"):
        load_released(tmp_path / "made_up.pt")
    assert not (tmp_path / "touched").exists()


def squeezed(source: Path, target: Path, *, filled: int = 0) -> None:
    """Copy a file of torch.save with its members deflated, and with zeros in another one."""
    with zipfile.ZipFile(source) as stored, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
        packed.writestr("stored/data/99", bytes(filled))


@pytest.mark.parametrize(
    ("filled", "line"),
    [
        (0, None),
        (8 << 20, None),  # little enough, whatever the ratio
        (64 << 20, r"^\S+model\.pt: of \S+ kB unfolds to 67\.1 MB; expected at most 16\.8 MB; torch\.save does not"),
    ],
)
def test_zips_that_unfold_to_many_times_their_size_are_refused(tmp_path, filled, line):
    torch.save({"a": torch.ones(2)}, tmp_path / "stored.pt")
    squeezed(tmp_path / "stored.pt", tmp_path / "model.pt", filled=filled)
    if line is None:
        assert torch.equal(read_torch_file(tmp_path / "model.pt")["a"], torch.ones(2))
        return
    with pytest.raises(InputError, match=line):
        read_torch_file(tmp_path / "model.pt")


@pytest.mark.parametrize("form", ["tensors", "packed", "safetensors"])
def test_quantised_weights_are_called_so(tmp_path, small, form):
    state = dict(small.state_dict())
    if form == "packed":
        del state["fc.weight"], state["fc.bias"]
        packed = (torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8), torch.zeros(2))
        state |= {"fc.scale": torch.tensor(0.1), "fc._packed_params._packed_params": packed}
    elif form == "tensors":
        state["fc.weight"] = torch.quantize_per_tensor(state["fc.weight"], 0.1, 0, torch.qint8)
    if form == "safetensors":
        state |= {"fc.zero_point": torch.tensor(0)}
        save_file(state, tmp_path / "model.safetensors")
    else:
        torch.save(state, tmp_path / "model.pt")
    (file,) = tmp_path.iterdir()
    with pytest.raises(InputError, match="holds quantised weights; expected floating-point weights; take the weights"):
        load_released(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weight: weight.to(torch.int8), "int8"),
        (lambda weight: weight > 0, "bool"),
        (lambda weight: weight.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda weight: weight.to(torch.complex64), "complex64"),
        (lambda weight: weight.to_sparse(), "sparse_coo"),
        (lambda weight: weight.to("meta"), "without values"),
        (lambda weight: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
    ],
)
@pytest.mark.parametrize("name", ["conv1.weight", "features.bias"])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_values_that_no_network_can_copy_are_one_line(tmp_path, small, change, words, name):
    state = dict(small.state_dict())
    torch.save({**state, name: change(state[name])}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=rf"model\.pt: {name}: {words}; expected dense float16, .* to float32"):
        load_released(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.ckpt"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>",
            r"a web page \(Google Drive - Quota exc",
        ),
        (b"\n  <HTML lang=en>", "a web page, not the file;.* download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer, not the file"),
        (b"", "an empty file"),
    ],
)
def test_what_lies_in_place_of_a_file_is_called_by_its_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_released(tmp_path / name)


@pytest.mark.parametrize(
    "make",
    [
        lambda state: {**state, "features.bias": torch.zeros(()).expand(2**33)},
        lambda state: {**state, "fc.weight": torch.zeros(()).expand(2**20, 2**20)},
        lambda state: {**state, "conv1.weight": torch.zeros(2**15).as_strided((2**14, 2**14), (1, 1))},
    ],
)
def test_a_view_of_more_than_the_file_holds_is_refused(tmp_path, small, make):
    torch.save(make(dict(small.state_dict())), tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"claims .* values where the file holds"):
        load_released(tmp_path / "model.pt")


def test_a_wide_view_among_ir_names_is_refused(tmp_path, tensors):
    wide = {**tensors["ir18"], "body.0.res_layer.4.weight": torch.zeros(()).expand(2**26, 1, 1, 1)}
    torch.save(wide, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: .*expected a checkpoint of"):
        load_released(tmp_path / "model.pt", "RGB")


def test_checking_repeated_values_computes_what_the_file_holds(tmp_path, monkeypatch, small):
    checked = []
    finite = torch.Tensor.isfinite
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda self: checked.append(self.numel()) or finite(self))
    state = {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in small.state_dict().items()}
    torch.save(state, tmp_path / "model.pt")
    load_released(tmp_path / "model.pt")
    assert set(checked) == {1}


def test_nothing_in_a_foreign_file_is_executed(tmp_path):
    touched = tmp_path / "touched"
    torch.save({"conv1.weight": _Executed(touched)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="holds no tensor"):
        load_released(tmp_path / "model.pt")
    assert not touched.exists()


def test_system_modules_are_refused(tmp_path):
    torch.save({"conv1.weight": os.getcwd}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"cannot be read safely .*posix"):
        load_released(tmp_path / "model.pt")


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}q\x00")
    with pytest.raises(InputError, match=r"model\.pt: cannot be read safely"):
        load_released(tmp_path / "model.pt")


OTHER_KINDS = {
    "an image (JPEG)": b"\xff\xd8\xff\xe0" + bytes(90),
    "an image (GIF)": b"GIF89a",
    "a PDF document": b"%PDF-1.7\n\xe2\xe3",
    "a RAR archive": b"Rar!\x1a\x07\x01\x00",
    "a text file": "größe: 50 µm\n".encode() * 99,
}


@pytest.mark.parametrize("name", ["model.pt", "model.onnx", "model.safetensors"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_file_of_another_kind_is_named(tmp_path, name, kind):
    path = tmp_path / name
    path.write_bytes(OTHER_KINDS[kind])
    with pytest.raises(InputError, match=rf"{name}: .*it seems to be {re.escape(kind)}(;|$)"):
        read_graph(path) if name.endswith("onnx") else load_released(path)


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_program_is_told_from_weights(tmp_path, name):
    (tmp_path / name).write_bytes(b"a program")
    with pytest.raises(InputError, match=f"{name}: a program, not weights; expected a state dict"):
        load_released(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        load_released(tmp_path / f"absent-{name}")


def fan_of_dictionaries(depth=4, keys=300):
    """Dictionaries within each other, all of whose keys name one and the same."""
    inner = {"x": torch.zeros(1)}
    for _ in range(depth):
        inner = dict.fromkeys(map(str, range(keys)), inner)
    return inner


@pytest.mark.parametrize(
    "loaded",
    [
        fan_of_dictionaries(),
        dict.fromkeys((f"p{number:06}.layer1.0.conv1.weight" for number in range(40_000)), torch.zeros(1)),
    ],
    ids=["shared", "prefixes"],
)
def test_a_file_is_searched_once_however_its_parts_are_shared(tmp_path, loaded):
    with pytest.raises(InputError):
        find_backbone(loaded, tmp_path / "odd.pt")


@pytest.mark.parametrize("name", ["b\0ar", "x y", "class", "\u202e", "a" * 5000])
def test_a_class_of_any_name_is_inert(tmp_path, name):
    path = tmp_path / "odd.pt"

    def text(value):
        encoded = value.encode()
        return b"X" + len(encoded).to_bytes(4, "little") + encoded

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("odd/data.pkl", b"\x80\x04" + text("foo") + text(name) + b"\x93)\x81.")
        archive.writestr("odd/version", "3\n")
    with pytest.raises(InputError):
        load_released(path)
