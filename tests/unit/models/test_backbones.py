import pytest
import torch
from torch import nn

from aroface.models.mobilefacenet import StridedDepthwise
from aroface.models.registry import build


def _norm(name):
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def _iresnet_keys(blocks):
    """The state dict's keys of insightface's IResNet, in order."""
    keys = ["conv1.weight", *_norm("bn1"), "prelu.weight"]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            keys += [*_norm(f"{at}.bn1"), f"{at}.conv1.weight", *_norm(f"{at}.bn2"), f"{at}.prelu.weight"]
            keys += [f"{at}.conv2.weight", *_norm(f"{at}.bn3")]
            if block == 0:
                keys += [f"{at}.downsample.0.weight", *_norm(f"{at}.downsample.1")]
    return [*keys, *_norm("bn2"), "fc.weight", "fc.bias", *_norm("features")]


@pytest.mark.parametrize(
    ("arch", "blocks"),
    [("r18", (2, 2, 2, 2)), ("r50", (3, 4, 14, 3)), ("r100", (3, 13, 30, 3))],
)
def test_iresnet_keys_are_those_of_insightface(arch, blocks):
    with torch.device("meta"):
        assert list(build(arch).state_dict()) == _iresnet_keys(blocks)


def test_mobilefacenet_keys_and_shapes_are_those_of_insightface():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in build("mbf").state_dict().items()}
    assert shapes["layers.0.layers.0.weight"] == (128, 3, 3, 3)
    assert shapes["layers.1.layers.0.weight"] == (128, 2, 3, 3)
    assert shapes["layers.2.layers.1.layers.0.weight"] == (128, 1, 3, 3)
    assert shapes["layers.3.layers.3.layers.2.layers.0.weight"] == (128, 128, 1, 1)
    assert shapes["layers.5.layers.5.layers.0.layers.2.weight"] == (256,)
    assert shapes["layers.6.layers.0.layers.0.weight"] == (512, 256, 1, 1)
    assert shapes["layers.7.layers.1.layers.2.layers.1.running_var"] == (256,)
    assert shapes["conv_sep.layers.0.weight"] == (512, 256, 1, 1)
    assert shapes["features.layers.0.layers.0.weight"] == (512, 1, 7, 7)
    assert shapes["features.layers.2.weight"] == (512, 512)
    assert shapes["features.layers.3.bias"] == (512,)
    assert len(shapes) == 333


def test_convolutions_start_normal_with_sd_a_tenth():
    torch.manual_seed(0)
    model = build("r18", 8, input_size=16)
    weights = torch.cat([part.weight.detach().flatten() for part in model.modules() if isinstance(part, nn.Conv2d)])
    assert float(weights.mean()) == pytest.approx(0, abs=1e-3)
    assert float(weights.std()) == pytest.approx(0.1, abs=1e-3)


def test_the_weight_of_the_last_batch_norm_is_frozen_at_one_and_its_bias_is_not():
    model = build("r8s4", 8, input_size=32)
    assert torch.equal(model.features.weight, torch.ones(8))
    assert not model.features.weight.requires_grad
    assert model.features.bias.requires_grad
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in model.named_parameters()} - {"features.weight"}


def _types_of_outputs(model, images):
    types = {}
    for name, part in model.named_modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _, __, out, name=name: types.__setitem__(name, out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(images)
    return types, embeddings


def test_autocast_reaches_the_convolutions_of_iresnet_but_not_its_last_layers():
    types, embeddings = _types_of_outputs(build("r8s4", 8, input_size=32), torch.randn(4, 3, 32, 32))
    assert types["conv1"] == types["layer2.0.conv2"] == torch.bfloat16
    assert types["fc"] == types["features"] == embeddings.dtype == torch.float32


def test_autocast_reaches_the_convolutions_of_mobilefacenet_but_not_its_last_layers():
    types, embeddings = _types_of_outputs(build("mbf", 8, input_size=32), torch.randn(4, 3, 32, 32))
    assert types["layers.0.layers.0"] == types["layers.5.layers.0.layers.1.layers.0"] == torch.bfloat16
    assert types["conv_sep.layers.0"] == types["features.layers.2"] == embeddings.dtype == torch.float32


def test_strided_depthwise_convolutions_are_float32_under_the_autocast_of_a_cpu():
    torch.manual_seed(0)
    layer, images = StridedDepthwise(6, 6, 3, 2, padding=1, groups=6, bias=False), torch.randn(2, 6, 9, 9)
    plain = nn.Conv2d(6, 6, 3, 2, padding=1, groups=6, bias=False)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), plain(images))
    maps = images.bfloat16().requires_grad_()
    exact = images.bfloat16().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(maps)
    expected = plain(exact)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected.bfloat16())
    out.sum().backward()
    expected.sum().backward()
    assert torch.equal(maps.grad, exact.grad.bfloat16())


def test_mobilefacenet_filters_depthwise_with_a_stride_by_such_layers_alone():
    depthwise = [
        part
        for part in build("mbf").modules()
        if isinstance(part, nn.Conv2d) and part.groups == part.in_channels and part.stride != (1, 1)
    ]
    assert len(depthwise) == 3
    assert all(isinstance(part, StridedDepthwise) for part in depthwise)


def test_a_block_adds_its_projected_input():
    model = build("r8s4", 8, input_size=32).eval()
    block = model.layer1[0]
    nn.init.zeros_(block.bn3.weight)
    maps = torch.randn(2, block.bn1.num_features, 8, 8)
    torch.testing.assert_close(block(maps), block.downsample(maps))
