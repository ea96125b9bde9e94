"""Files in the layouts that projects release, made of networks that are built here layer by layer and saved by torch.

Each network is written from its publication: it shares no code with the package, computes its own embeddings from
pixels in its own way, and has to be matched by the run that the import makes of its file.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from aroface.cli.main import main
from aroface.embedding.embedder import load_embedder
from aroface.embedding.external_model import Declared, open_model
from aroface.embedding.import_program import import_program
from aroface.errors import InputError
from aroface.files import read_json
from aroface.models.checkpoint import load_released
from aroface.models.import_released import import_checkpoint
from aroface.models.info import describe
from aroface.models.run_folder import load_backbone

SIZE, CLASSES = 16, 7  # features, and identities of the classifier
FACES = np.random.default_rng(5).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)


class Residual(nn.Module):
    """The block of an IResNet: two 3x3 convolutions between batch norms, and a projection where the shape changes."""

    def __init__(self, before, width, stride, eps):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before, eps)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width, eps))

    def forward(self, maps):
        out = self.conv1(self.bn1(maps))
        out = self.bn3(self.conv2(self.prelu(self.bn2(out))))
        return out + (self.downsample(maps) if hasattr(self, "downsample") else maps)


class Residual18(nn.Module):
    """An IResNet-18 with insightface's names; ``eps`` is 2e-5 in MagFace's. TopoFR's holds its classifier."""

    def __init__(self, eps=1e-5, classes=0):
        super().__init__()
        self.conv1, self.bn1, self.prelu = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64, eps), nn.PReLU(64)
        before = 64
        for number, width in enumerate((64, 128, 256, 512), 1):
            self.add_module(
                f"layer{number}", nn.Sequential(Residual(before, width, 2, eps), Residual(width, width, 1, eps))
            )
            before = width
        self.bn2, self.dropout = nn.BatchNorm2d(512, eps), nn.Dropout(0.4)
        self.fc, self.features = nn.Linear(512 * 49, SIZE), nn.BatchNorm1d(SIZE, eps)
        if classes:
            self.weight = nn.Parameter(torch.randn(classes, SIZE))

    def forward(self, images):
        maps = self.prelu(self.bn1(self.conv1(images)))
        maps = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(maps)))))
        return self.features(self.fc(self.dropout(maps).flatten(1)))


class IrBlock(nn.Module):
    """The block of an IR network; those of face.evoLVe and CurricularFace have no batch norm in the middle."""

    def __init__(self, before, width, stride, middle):
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if before == width
            else nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )
        norm = [nn.BatchNorm2d(width)] if middle else []
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, width, 3, 1, 1, bias=False),
            *norm,
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, maps):
        return self.res_layer(maps) + self.shortcut_layer(maps)


class Ir18(nn.Module):
    """An IR-18 with the names of AdaFace, TFace, CVLface and CurricularFace."""

    def __init__(self, middle=True):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        blocks, before = [], 64
        for width in (64, 128, 256, 512):
            blocks += [IrBlock(before, width, 2, middle), IrBlock(width, width, 1, middle)]
            before = width
        self.body = nn.Sequential(*blocks)
        last = [nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), nn.Linear(512 * 49, SIZE)]
        self.output_layer = nn.Sequential(*last, nn.BatchNorm1d(SIZE, affine=False))

    def forward(self, images):
        return self.output_layer(self.body(self.input_layer(images)))


class Training(nn.Module):
    """A network under any name with a classifier under any name, as trainings wrap them."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Kernel(nn.Module):
    """A classifier with a column, or with a row, for each identity."""

    def __init__(self, name, *shape):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.randn(*shape)))


def lived_in(network):
    """The network with running statistics as of a training."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(1e-4, 1e-3)  # as small as in the last layers, where epsilon counts
            if part.affine:
                part.weight.data.uniform_(0.01, 0.02)
    return network.eval()


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    made = {
        "insightface": Residual18(),
        "magface": Residual18(eps=2e-5),
        "topofr": Residual18(classes=CLASSES),
        "ir": Ir18(),
        "curricularface": Ir18(middle=False),
    }
    return {name: lived_in(network) for name, network in made.items()}


def lightning(folder, networks):
    """AdaFace: a checkpoint of PyTorch Lightning."""
    whole = Training(model=networks["ir"], head=Kernel("kernel", SIZE, CLASSES))
    torch.save({"epoch": 25, "state_dict": whole.state_dict(), "hyper_parameters": {"m": 0.4}}, folder / "adaface.ckpt")
    return folder / "adaface.ckpt", whole.head.kernel.T


def magface(folder, networks):
    """MagFace: the parts below ``features`` and ``fc``, the former on several GPUs."""
    whole = Training(features=nn.DataParallel(networks["magface"]), fc=Kernel("weight", SIZE, CLASSES))
    state = {"epoch": 25, "arch": "iresnet18", "state_dict": whole.state_dict(), "optimizer": {"state": {}}}
    torch.save(state, folder / "magface_epoch_00025.pth")
    return folder / "magface_epoch_00025.pth", whole.fc.weight.T


def magface_parallel(folder, networks):
    """MagFace: all of the training on several GPUs."""
    whole = nn.DataParallel(Training(features=networks["magface"], fc=Kernel("weight", SIZE, CLASSES)))
    torch.save({"epoch": 25, "arch": "iresnet18", "state_dict": whole.state_dict()}, folder / "00025.pth")
    return folder / "00025.pth", whole.module.fc.weight.T


def curricularface(folder, networks):
    """CurricularFace: the backbone's state dict, in torch's format of before 1.6."""
    torch.save(networks["curricularface"].state_dict(), folder / "Backbone.pth", _use_new_zipfile_serialization=False)
    return folder / "Backbone.pth", None


def elasticface(folder, networks):
    """ElasticFace, ARoFace, CFSM, the R100 zoo and insightface's .pth: a plain state dict."""
    torch.save(networks["insightface"].state_dict(), folder / "295672backbone.pth")
    return folder / "295672backbone.pth", None


def topofr(folder, networks):
    """TopoFR: the classifier is a parameter of the backbone."""
    torch.save(networks["topofr"].state_dict(), folder / "MS1MV2_R18_TopoFR.pt")
    return folder / "MS1MV2_R18_TopoFR.pt", networks["topofr"].weight


def arcface_torch(folder, networks):
    """The state of a training by arcface_torch."""
    classes = Kernel("weight", CLASSES, SIZE)
    optimiser = torch.optim.SGD([*networks["insightface"].parameters(), *classes.parameters()], 0.1, momentum=0.9)
    state = {
        "epoch": 20,
        "global_step": 9,
        "state_dict_backbone": networks["insightface"].state_dict(),
        "state_dict_softmax_fc": classes.state_dict(),
        "state_optimizer": {**optimiser.state_dict(), "buffers": {"fc.weight": torch.zeros(CLASSES, SIZE)}},
    }
    torch.save(state, folder / "checkpoint_gpu_0.pt")
    return folder / "checkpoint_gpu_0.pt", classes.weight


def compiled(folder, networks):
    """A compiled network in a wrapper of several GPUs."""
    network = torch.compile(nn.DataParallel(networks["insightface"]), backend="eager")
    torch.save({"model": network.state_dict(), "step": 3}, folder / "compiled.pt")
    return folder / "compiled.pt", None


def cvlface(folder, networks):
    """CVLface on Hugging Face: safetensors and config.json."""
    state = Training(model=Training(net=networks["ir"])).state_dict()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    conf = {"color_space": "RGB", "input_size": [3, 112, 112], "name": "ir18", "output_dim": SIZE, "freeze": False}
    config = {"architectures": ["CVLFaceRecognitionModel"], "conf": {**conf, "yaml_path": "models/iresnet"}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder, None


def cvlface_training(folder, networks):
    """CVLface's own folder: model.pt and model.yaml; this one with insightface's names."""
    place = folder / "pretrained_model"
    place.mkdir()
    torch.save(Training(net=networks["insightface"]).state_dict(), place / "model.pt")
    conf = {"input_size": [3, 112, 112], "color_space": "RGB", "name": "ir18", "output_dim": SIZE, "freeze": False}
    (place / "model.yaml").write_text(yaml.safe_dump(conf))
    return folder, None


LAYOUTS = {
    lightning: ("ir", None, "BGR", "released by AdaFace: Lightning's checkpoint"),
    magface: ("magface", "BGR", "BGR", "released by MagFace"),
    magface_parallel: ("magface", "BGR", "BGR", "released by MagFace"),
    curricularface: ("curricularface", "RGB", "RGB", "as CurricularFace and face.evoLVe release them"),
    elasticface: ("insightface", None, "RGB", "as insightface, ARoFace, ElasticFace, CFSM and the R100 zoo"),
    topofr: ("topofr", None, "RGB", "as TopoFR releases them"),
    arcface_torch: ("insightface", None, "RGB", "state of a training by arcface_torch"),
    compiled: ("insightface", None, "RGB", "as insightface"),
    cvlface: ("ir", None, "RGB", "released by CVLface, with its config"),
    cvlface_training: ("insightface", None, "RGB", "released by CVLface, with its config"),
}


def embeddings(network, color, *, unit=False):
    """Embeddings of the faces by the network itself; ``unit``: of pixels in 0..1, not -1..1."""
    images = FACES if color == "RGB" else FACES[..., ::-1].copy()
    pixels = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return network(pixels if unit else (pixels - 0.5) / 0.5).numpy()


def assert_equal(run, expected):
    found = load_embedder(run, "cpu").embed(FACES, flip=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_an_imported_layout_embeds_as_its_own_network_does(tmp_path, networks, layout):
    (tmp_path / "released").mkdir()
    name, said, color, words = LAYOUTS[layout]
    path, classifier = layout(tmp_path / "released", networks)
    run = import_checkpoint(path, tmp_path / "run", color=said).parent
    assert_equal(run, embeddings(networks[name], color, unit=name == "magface"))
    checkpoint = read_json(run / "checkpoint.json")
    assert checkpoint["experiment"]["arch"] == "r18"
    assert checkpoint["released"]["color"] == color
    assert checkpoint["released"]["release"].startswith(words)
    if classifier is None:
        assert "classifier" not in checkpoint and not (run / "classifier.safetensors").exists()
    else:
        assert checkpoint["classifier"]["classes"] == CLASSES
        assert torch.equal(load_file(run / "classifier.safetensors")["weight"], classifier)
    lines = describe(path)
    assert "architecture   r18 (IResNet-18)" in lines and f"embedding      {SIZE} features" in lines
    assert any(line.startswith("layout") and words in line for line in lines)
    assert any(line.startswith("classifier     7 classes, ") for line in lines) == (classifier is not None)
    normalised = "(pixel − 0) / 255" if name == "magface" else "(pixel − 127.5) / 127.5"
    assert any(normalised in line for line in lines)


def test_the_epsilon_of_magfaces_batch_norms_counts(networks):
    """Without it the embeddings would differ by more than the comparison above allows."""
    network = networks["magface"]
    expected = embeddings(network, "BGR", unit=True)
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    try:
        for part in norms:
            part.eps = 1e-5
        other = embeddings(network, "BGR", unit=True)
    finally:
        for part in norms:
            part.eps = 2e-5
    assert abs(other - expected).max() > 1e-3 * abs(expected).max()


def test_classifiers_that_are_released_apart_are_kept_in_their_order(tmp_path, networks, capsys):
    """ElasticFace's header (columns), CurricularFace's head with its state, Partial FC's parts of two processes."""
    path, _ = elasticface(tmp_path, networks)
    headers = [Kernel("kernel", SIZE, 5), Kernel("kernel", SIZE, 4)]
    torch.save(headers[0].state_dict(), tmp_path / "295672header.pth")
    torch.save({"EPOCH": 24, "HEAD": headers[1].state_dict()}, tmp_path / "Head.pth")
    parts = [Kernel("weight", 3, SIZE), Kernel("weight", 2, SIZE)]
    for rank, part in enumerate(parts):
        torch.save(Training(partial_fc=part).state_dict(), tmp_path / f"classifier_rank{rank}.pt")

    def kept(*names):
        files = [str(tmp_path / name) for name in names]
        assert main(["model", "import", str(path), "--out", str(tmp_path / "run"), "--classifier", *files]) == 0
        return load_file(tmp_path / "run/classifier.safetensors")["weight"]

    assert torch.equal(kept("295672header.pth"), headers[0].kernel.T)
    assert torch.equal(kept("Head.pth"), headers[1].kernel.T)
    assert torch.equal(kept("classifier_rank0.pt", "classifier_rank1.pt"), torch.cat([part.weight for part in parts]))
    assert "classifier     5 classes in classifier.safetensors, of classifier_rank0.pt: " in capsys.readouterr().out
    import_checkpoint(path, tmp_path / "run")
    assert not (tmp_path / "run/classifier.safetensors").exists(), "that of another import is gone"
    with pytest.raises(InputError, match=r"backbone\.pth: no classifier; expected one matrix of classes × 16 or 16"):
        import_checkpoint(path, tmp_path / "run", classifiers=[path])


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_a_damaged_classifier_is_left_out(tmp_path, networks, damage, capsys):
    whole = Training(model=networks["ir"], head=Kernel("kernel", SIZE, CLASSES))
    whole.head.kernel.data[3, 2] = damage
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "adaface.ckpt")
    assert load_released(tmp_path / "adaface.ckpt").left_out == ("head.kernel",)


def test_networks_that_no_architecture_has_are_told_with_a_way(tmp_path, networks):
    squeezed = Ir18()
    squeezed.body[0].res_layer.add_module("5", Training(fc1=nn.Conv2d(64, 4, 1, bias=False)))
    torch.save(squeezed.state_dict(), tmp_path / "ir_se.pth")
    with pytest.raises(InputError, match=r"ir_se.pth: body\.0\..*: squeeze-and-excitation.*export it to ONNX"):
        load_released(tmp_path / "ir_se.pth", "RGB")
    transformer = nn.TransformerEncoderLayer(16, 2).state_dict() | {"blocks.0.attn.qkv.weight": torch.zeros(48, 16)}
    torch.save({f"net.{name}": value for name, value in transformer.items()}, tmp_path / "vit.pt")
    with pytest.raises(
        InputError, match=r"vit.pt: no backbone that is known .*a vision transformer.*export it to ONNX"
    ):
        load_released(tmp_path / "vit.pt")


@pytest.mark.parametrize(
    ("name", "differs"),
    [("ir101_webface4m.pth", True), ("r18.pt", False), ("iresnet50", True), ("model.pth", False), ("fr100x.pt", False)],
)
def test_the_depth_is_that_of_the_tensors_whatever_the_name_says(tmp_path, networks, name, differs):
    torch.save(networks["insightface"].state_dict(), tmp_path / name)
    lines = describe(tmp_path / name)
    assert "architecture   r18 (IResNet-18)" in lines
    assert any("as counted from the tensors, though the name says" in line for line in lines) == differs


def export(network, path, **options):
    """The network as arcface_torch exports it."""
    with torch.no_grad():
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 112, 112),),
            str(path),
            input_names=["data"],
            dynamo=False,
            opset_version=17,
            dynamic_axes={"data": {0: "None"}},
            **options,
        )


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_becomes_a_run_that_embeds_as_its_network_does(tmp_path, networks, capsys):
    export(networks["insightface"], tmp_path / "ms1mv3_r18.onnx")
    words = ["model", "import", str(tmp_path / "ms1mv3_r18.onnx"), "--out", str(tmp_path / "run"), "--arch", "r18"]
    assert main([*words, "--method", "arcface", "--dataset", "ms1mv3", "--color", "RGB"]) == 0
    printed = capsys.readouterr().out
    assert "are those of r18 (IResNet-18)" in printed and f"embedding      {SIZE} features" in printed
    checkpoint = read_json(tmp_path / "run/checkpoint.json")
    assert checkpoint["experiment"] == {"method": "arcface", "dataset": "ms1mv3", "arch": "r18", "seed": 0}
    assert (checkpoint["source"], checkpoint["released"]["layout"]) == ("released", "onnx")
    assert (tmp_path / "run/model.onnx").stat().st_size < 1e5 < (tmp_path / "run/model.safetensors").stat().st_size
    expected = embeddings(networks["insightface"], "RGB")
    (tmp_path / "ms1mv3_r18.onnx").unlink()
    assert_equal(tmp_path / "run", expected)
    model = open_model(tmp_path / "run", device="cpu")
    np.testing.assert_array_equal(model.embedder.embed(FACES), load_embedder(tmp_path / "run", "cpu").embed(FACES))
    before = (tmp_path / "run/model.safetensors").read_bytes()
    (tmp_path / "run/model.safetensors").write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(InputError, match=r"model\.safetensors: sha256 .*the file was changed"):
        load_embedder(tmp_path / "run", "cpu")
    with pytest.raises(InputError, match=r"run: an ONNX program; expected weights of a backbone"):
        load_backbone(tmp_path / "run")


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_of_another_depth_or_colour_order(tmp_path, networks):
    export(networks["insightface"], tmp_path / "named_r100.onnx")
    for odd in ("r999", "vit", "", "r18\n"):
        with pytest.raises(InputError, match=r"unknown architecture .*; expected one of r18, .*, onnx"):
            import_program(tmp_path / "named_r100.onnx", tmp_path / "run", arch=odd)
    with pytest.raises(InputError, match=r"named_r100\.onnx: holds the convolutions of r18; expected r100"):
        import_program(tmp_path / "named_r100.onnx", tmp_path / "run", arch="r100")
    assert not (tmp_path / "run").exists()
    assert any("the name says r100" in line for line in describe(tmp_path / "named_r100.onnx"))
    run = import_program(tmp_path / "named_r100.onnx", tmp_path / "run", Declared("BGR", 0.0, 255.0)).parent
    assert_equal(run, embeddings(networks["insightface"], "BGR", unit=True))


class Normalising(nn.Module):
    """A network as MXNet's converter writes it: pixels from 0 to 255 go in."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network((images - 127.5) * 0.0078125)


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_that_normalises_pixels_itself_gets_them_as_they_are(tmp_path, networks, capsys):
    export(Normalising(networks["insightface"]).eval(), tmp_path / "arcface.onnx")
    run = import_program(tmp_path / "arcface.onnx", tmp_path / "run").parent
    assert "arcface.onnx: it normalises pixels itself" in capsys.readouterr().err
    assert read_json(run / "checkpoint.json")["input"] == {"size": 112, "color": "RGB", "mean": 0.0, "std": 1.0}
    with torch.inference_mode():
        pixels = (torch.tensor(FACES).permute(0, 3, 1, 2).float() - 127.5) * 0.0078125
        assert_equal(run, networks["insightface"](pixels).numpy())
    assert any("which it normalises itself" in line for line in describe(tmp_path / "arcface.onnx"))


def test_the_workflow_takes_no_onnx_package_to_import_weights():
    """Weights are imported without the extra for ONNX."""
    words = "import sys, aroface.models.import_released; print(sorted({'onnx', 'onnxruntime'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
