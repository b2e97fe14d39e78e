"""Vision encoders: the contract for every yaml, transformers' own numbers for towers, and freezing by pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from torch import nn

from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.training.freeze import set_trainable
from rsmoe.vision import VisionFeatures
from rsmoe.vision.convnext import ConvNeXt
from rsmoe.vision.frozen import FrozenPart
from rsmoe.vision.inputs import inflate_bands
from rsmoe.vision.positions import sine_positions
from rsmoe.vision.pretrained_tower import PretrainedTower
from rsmoe.vision.pyramid import GridPyramid
from rsmoe.vision.resnet import ResNet

CONF = Path(__file__).parents[2] / "conf" / "vision"
YAMLS = {p.stem: yaml.safe_load(p.read_text()) for p in sorted(CONF.glob("*.yaml"))}
SMALL = sorted(name for name in YAMLS if name.endswith("_tiny"))
SIZES = {"vit_tiny": 96}

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def build(name: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(YAMLS[name] | changes)


def whole_models() -> dict[str, transformers.PreTrainedModel]:
    """Tiny checkpoints as people publish them: most have more in them than a vision tower."""
    qformer = TEXT | {"encoder_hidden_size": 32}
    llama = {"model_type": "llama", **TEXT}
    t = transformers
    return {
        "clip": t.CLIPModel(t.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16)),
        "clip_vision": t.CLIPVisionModel(t.CLIPVisionConfig(**VISION)),
        "siglip": t.SiglipModel(t.SiglipConfig(vision_config=VISION, text_config=TEXT)),
        "dinov2": t.Dinov2Model(t.Dinov2Config(**VISION)),
        "dinov2_registers": t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**VISION)),
        "dinov3": t.DINOv3ViTModel(t.DINOv3ViTConfig(**VISION, num_register_tokens=4)),
        "eva": t.InstructBlipForConditionalGeneration(
            t.InstructBlipConfig(vision_config=VISION, qformer_config=qformer, text_config=llama, num_query_tokens=4)
        ),
        "blip2": t.Blip2ForConditionalGeneration(
            t.Blip2Config(vision_config=VISION, qformer_config=qformer, text_config=llama, num_query_tokens=4)
        ),
    }


PREFIX = {
    "clip": 1,
    "clip_vision": 1,
    "siglip": 0,
    "dinov2": 1,
    "dinov2_registers": 5,
    "dinov3": 5,
    "eva": 1,
    "blip2": 1,
}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, nn.Module]]:
    """Name -> (folder, the vision part that transformers runs)."""
    torch.manual_seed(0)
    found = {}
    for name, model in whole_models().items():
        with torch.no_grad():
            for p in model.parameters():  # away from the zeros and ones that hide a wrong place
                p.normal_(std=0.2)
        folder = tmp_path_factory.mktemp(name)
        model.eval().save_pretrained(folder)
        found[name] = folder, getattr(model, "vision_model", model)
    return found


# the contract


def test_every_yaml_has_a_tiny_twin_or_is_checked_on_meta() -> None:
    assert {"resnet_tiny", "convnext_tiny", "vit_tiny", "eva_vit_g"} <= set(YAMLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", YAMLS)
def test_shapes_on_meta(name: str) -> None:
    with torch.device("meta"):
        encoder = build(name)
        seen = encoder(torch.empty(2, 3, 224 if name not in SIZES else 96, 224 if name not in SIZES else 96))
    assert isinstance(seen, VisionFeatures)
    assert seen.tokens.shape[0] == 2 and seen.tokens.shape[2] == encoder.width
    assert tuple(level.shape[1] for level in seen.pyramid) == encoder.pyramid_widths
    sides = [level.shape[-1] for level in seen.pyramid]
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("name", SMALL)
def test_contract(name: str, bands: int) -> None:
    encoder = build(name, bands=bands)
    pixels = torch.randn(2, bands, 96, 96)
    seen = encoder(pixels)
    assert seen.tokens.dtype == torch.float32
    assert seen.tokens.shape[::2] == (2, encoder.width)
    (seen.tokens.square().sum() + sum(level.square().sum() for level in seen.pyramid)).backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []

    encoder.eval()
    first, second = encoder(pixels).tokens, encoder(pixels).tokens
    assert torch.equal(first, second)
    assert torch.allclose(first[:1], encoder(pixels[:1]).tokens, atol=1e-5)  # images do not see each other
    if name != "vit_tiny":  # transformers' attention refuses no images; a batch always has one
        empty = encoder(pixels[:0])
        assert empty.tokens.shape == (0, *first.shape[1:]) and empty.pyramid[0].shape[0] == 0

    torch.manual_seed(1)
    twin = instantiate(YAMLS[name] | {"bands": bands}).eval()
    assert not torch.equal(twin(pixels).tokens, first)
    twin.load_state_dict(encoder.state_dict())
    assert torch.equal(twin(pixels).tokens, first)


@pytest.mark.parametrize("name", SMALL)
def test_wrong_bands_are_named(name: str) -> None:
    with pytest.raises(UserError, match=r"\(1, 4, 96, 96\).*expected \(N, 3, H, W\).*bands=4"):
        build(name)(torch.randn(1, 4, 96, 96))


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_tiny"])
def test_sizes_that_do_not_divide_are_named(name: str) -> None:
    with pytest.raises(UserError, match="97 x 96 px, expected multiples of 1[26]"):
        build(name)(torch.randn(1, 3, 97, 96))


def test_mistyped_stages() -> None:
    with pytest.raises(UserError, match="one depth for each width"):
        ResNet(widths=[8, 16], depths=[2])
    with pytest.raises(UserError, match="one depth for each width"):
        ConvNeXt(widths=[8, 18], depths=[1, 1])
    with pytest.raises(UserError, match="vision.block='wide': expected 'basic' or 'bottleneck'"):
        build("resnet_tiny", block="wide")


@pytest.mark.parametrize("encoder", [ResNet(widths=(8, 16), depths=(1, 1)), ConvNeXt(widths=(8, 16), depths=(1, 1))])
def test_tokens_are_the_last_stage_row_by_row_and_know_their_place(encoder: ResNet | ConvNeXt) -> None:
    with torch.no_grad():
        seen = encoder.eval()(torch.randn(1, 3, 32, 64))  # stride 8: 4 x 8 tokens
    norm = encoder.norm if isinstance(encoder, ResNet) else encoder.net.layernorm
    expected = norm(seen.pyramid[-1][0, :, 2, 5]) + sine_positions(4, 8, 16)[2 * 8 + 5]
    assert torch.allclose(seen.tokens[0, 2 * 8 + 5], expected, atol=1e-5)


def test_the_stem_level_is_the_stem_before_pooling() -> None:
    torch.manual_seed(0)
    plain, finer = (
        ResNet(stem=8, widths=(8, 16), depths=(1, 1)),
        ResNet(stem=8, widths=(8, 16), depths=(1, 1), stem_level=True),
    )
    finer.load_state_dict(plain.state_dict())
    pixels = torch.rand(2, 3, 32, 32)
    a, b = plain.eval()(pixels), finer.eval()(pixels)
    assert finer.pyramid_widths == (8, 8, 16) and b.pyramid[0].shape == (2, 8, 16, 16)
    assert torch.equal(a.tokens, b.tokens) and all(map(torch.equal, a.pyramid, b.pyramid[1:]))
    pooled = torch.nn.functional.max_pool2d(b.pyramid[0], 3, stride=2, padding=1)
    torch.testing.assert_close(plain.net.encoder(pooled).last_hidden_state, a.pyramid[-1])


def test_no_two_places_agree() -> None:
    places = sine_positions(24, 17, 64)
    assert torch.cdist(places, places).fill_diagonal_(1e9).min() > 0.1


def test_pyramid_keeps_rows_and_columns_apart() -> None:
    grid = torch.arange(6.0).repeat(1, 4, 1).transpose(1, 2)  # (1, 6, 4): token i holds i
    (level,) = GridPyramid(tokens=4, width=None)(grid, height=2, width=3)
    assert level[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    pyramid = GridPyramid(tokens=8, width=5)
    shapes = [tuple(x.shape) for x in pyramid(torch.randn(2, 6, 8), height=2, width=3)]
    assert shapes == [(2, 5, 8, 12), (2, 5, 4, 6), (2, 5, 2, 3)] and pyramid.widths == (5, 5, 5)


# pretrained towers


@pytest.mark.parametrize("name", PREFIX)
def test_tower_equals_transformers(name: str, towers: dict[str, tuple[Path, nn.Module]]) -> None:
    folder, reference = towers[name]
    tower = PretrainedTower(pretrained=str(folder))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        seen, expected = tower(pixels), reference(pixel_values=pixels).last_hidden_state
    assert torch.allclose(seen.tokens, expected, atol=1e-5)
    assert seen.tokens.shape == (2, PREFIX[name] + 16, 32)
    assert torch.equal(seen.pyramid[0][1, :, 3, 2], seen.tokens[1, PREFIX[name] + 3 * 4 + 2])
    bare = PretrainedTower(pretrained=str(folder), keep_prefix=False)(pixels)
    assert torch.equal(bare.tokens, seen.tokens[:, PREFIX[name] :])


@pytest.mark.parametrize("name", PREFIX)
@pytest.mark.parametrize("layer", [-2, 1])
def test_select_layer(name: str, layer: int, towers: dict[str, tuple[Path, nn.Module]]) -> None:
    folder, reference = towers[name]
    tower = PretrainedTower(pretrained=str(folder), select_layer=layer)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = reference(pixel_values=pixels, output_hidden_states=True).hidden_states[layer]
        assert torch.allclose(tower(pixels).tokens, expected, atol=1e-5)


@pytest.mark.parametrize("layer", [None, -2])
@pytest.mark.parametrize("name", PREFIX)
def test_every_parameter_of_a_tower_has_a_gradient(
    name: str, layer: int | None, towers: dict[str, tuple[Path, nn.Module]]
) -> None:
    tower = PretrainedTower(pretrained=str(towers[name][0]), select_layer=layer, pyramid_width=6)
    seen = tower(torch.randn(1, 3, 48, 32))  # another size than it was trained for
    assert seen.tokens.shape[1] == PREFIX[name] + 24
    (seen.tokens.square().sum() + sum(level.square().sum() for level in seen.pyramid)).backward()
    assert [n for n, p in tower.named_parameters() if p.grad is None] == []
    with pytest.raises(UserError, match="multiples of 8"):
        tower(torch.randn(1, 3, 33, 32))


@pytest.mark.parametrize("name", PREFIX)
def test_a_tower_takes_adapters(name: str, towers: dict[str, tuple[Path, nn.Module]]) -> None:
    folder, reference = towers[name]
    tower = PretrainedTower(pretrained=str(folder), lora={"rank": 2}).eval()
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = reference(pixel_values=pixels).last_hidden_state
        assert torch.allclose(tower(pixels).tokens, expected, atol=1e-5)  # zero at first
    trained = set_trainable(tower, ["*lora_*"])
    linear = [m for m in tower.tower.modules() if type(m).__name__ == "Linear" and hasattr(m, "lora_A")]
    assert len(trained) == 2 * len(linear) >= 2 * 3 * 4  # A and B; EVA has four a block
    tower(pixels).tokens.square().sum().backward()
    assert all((p.grad is not None) == (n in trained) for n, p in tower.named_parameters())
    assert FrozenPart(tower).rests is False
    with torch.no_grad():
        for layer in linear:
            layer.lora_B["default"].weight.normal_(std=0.1)
        before = tower(pixels).tokens
        assert not torch.allclose(before, expected, atol=1e-2)
        again = PretrainedTower(pretrained=str(folder), lora={"rank": 2}).eval()
        again.load_state_dict(tower.state_dict())
        assert torch.equal(again(pixels).tokens, before)


def test_adapters_of_layers_that_are_not_there(towers: dict[str, tuple[Path, nn.Module]]) -> None:
    with pytest.raises(UserError, match=r"vision.lora.targets=\['query_key'\]: no linear layer's name .* 'q_proj'"):
        PretrainedTower(pretrained=str(towers["clip"][0]), lora={"rank": 2, "targets": ["query_key"]})


@pytest.mark.slow
@pytest.mark.parametrize("bands", [2, 4, 6])
@pytest.mark.parametrize("name", PREFIX)
def test_any_bands_answer_alike_to_a_grey_image(
    name: str, bands: int, towers: dict[str, tuple[Path, nn.Module]]
) -> None:
    grey = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        rgb = PretrainedTower(pretrained=str(towers[name][0]))(grey.expand(-1, 3, -1, -1)).tokens
        tower = PretrainedTower(pretrained=str(towers[name][0]), bands=bands)
        assert torch.allclose(tower(grey.expand(-1, bands, -1, -1)).tokens, rgb, atol=1e-4)
    with pytest.raises(UserError, match=f"expected .N, {bands}, H, W."):
        tower(torch.randn(1, 3, 32, 32))


def test_inflation_keeps_colour() -> None:
    stem = nn.Sequential(nn.Conv2d(3, 5, 4, 4))
    before = stem[0].weight.clone()
    inflate_bands(stem, 4)
    assert torch.allclose(stem[0].weight[:, :3], before * 3 / 4)
    assert torch.allclose(stem[0].weight[:, 3], before.mean(1) * 3 / 4)


def test_activation_is_the_checkpoint_s(towers: dict[str, tuple[Path, nn.Module]]) -> None:
    folder = str(towers["clip"][0])
    assert PretrainedTower(pretrained=folder).tower.config.hidden_act == "quick_gelu"
    agreed = {"model_type": "clip_vision_model", "hidden_act": "quick_gelu", "num_hidden_layers": 3}
    PretrainedTower(pretrained=folder, config=agreed)
    with pytest.raises(UserError, match="hidden_act=gelu there quick_gelu"):
        PretrainedTower(pretrained=folder, config=agreed | {"hidden_act": "gelu"})


def test_what_cannot_be_loaded_is_explained(tmp_path: Path, towers: dict[str, tuple[Path, nn.Module]]) -> None:
    with pytest.raises(UserError, match=r"folder with config\.json"):
        PretrainedTower(pretrained=str(tmp_path))
    with pytest.raises(UserError, match="give a name, a folder, or a config"):
        PretrainedTower()
    with pytest.raises(UserError, match="Did you mean 'dinov2'"):
        PretrainedTower(config={"model_type": "dinov4"})
    with pytest.raises(UserError, match="select_layer=7: expected -4 to 3"):
        PretrainedTower(pretrained=str(towers["eva"][0]), select_layer=7)
    transformers.BertModel(transformers.BertConfig(**TEXT)).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="unknown kind of vision tower 'bert'"):
        PretrainedTower(pretrained=str(tmp_path / "bert"))


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    model = transformers.Dinov2Model(transformers.Dinov2Config(**VISION))
    state = {k: v for k, v in model.state_dict().items() if "layer.2.mlp.fc1" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(UserError, match=r"lacks 2 weights of Dinov2Model.*layer\.2\.mlp\.fc1"):
        PretrainedTower(pretrained=str(tmp_path))


def test_eva_has_its_published_size() -> None:
    with torch.device("meta"):
        encoder = build("eva_vit_g")
        block = encoder.tower.encoder.layers[0]
        tokens = encoder(torch.empty(1, 3, 224, 224)).tokens
    assert sum(p.numel() for p in encoder.parameters()) == 985_952_256  # specs: ~986 M
    assert sum(p.numel() for p in block.parameters()) == pytest.approx(25.25e6, rel=1e-3)
    assert tokens.shape == (1, 257, 1408)


def test_deltavlm_trains_the_last_two_blocks_and_the_last_norm() -> None:
    with torch.device("meta"):
        model = nn.ModuleDict({"vision": build("eva_vit_g")})
    names = set_trainable(model, ["vision.tower.encoder.layers[-2:]", "vision.tower.post_layernorm"])
    kept = {n.split("layers.")[-1].split(".")[0] for n in names if "layers" in n}
    assert kept == {"37", "38"}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == pytest.approx(2 * 25.25e6, rel=1e-3)


# freezing


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.body = nn.Module()
        self.body.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(12))
        self.ids = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)


def trained(*patterns: str) -> set[str]:
    return {n.removesuffix(".weight") for n in set_trainable(Toy(), patterns) if n.endswith("weight")}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*"], {"head", *(f"body.layers.{i}" for i in range(12))}),
        (["*", "-body.*"], {"head"}),
        (["*", "-body"], {"head"}),
        (["head.weight"], {"head"}),
        (["body.layers[-2:]"], {"body.layers.10", "body.layers.11"}),
        (["*", "-body.layers[:-2]"], {"head", "body.layers.10", "body.layers.11"}),
        (["body.layers[1]"], {"body.layers.1"}),  # not 10 and 11
        (["body.layers.1"], {"body.layers.1"}),
        (["*layers[-1].weight"], {"body.layers.11"}),
        (["-*", "body.layers[3:5]"], {"body.layers.3", "body.layers.4"}),
        (["body.*", "-body.*", "body.layers[0:1].*"], {"body.layers.0"}),
        ([], set()),
    ],
)
def test_patterns(patterns: list[str], expected: set[str]) -> None:
    assert trained(*patterns) == expected


def test_patterns_set_and_unset_gradients() -> None:
    toy = Toy()
    assert set_trainable(toy, ["head"]) == ["head.weight", "head.bias"]
    assert [n for n, p in toy.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert set_trainable(toy, []) == []
    assert not any(p.requires_grad for p in toy.parameters())


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("haed.*", "Closest: head"),
        ("-haed.*", "Closest: head"),
        ("body.layers[12]", "body.layers has 12"),
        ("body.layers[20:]", "body.layers has 12"),
        ("body.layer[0]", "body.layers"),
        ("hea", "Closest: head"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(pattern: str, hint: str) -> None:
    with pytest.raises(UserError, match="matches no parameter") as error:
        set_trainable(Toy(), ["*", pattern])
    assert hint in str(error.value)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", PREFIX)
def test_a_frozen_tower_is_cut_behind_its_weights_and_stays_in_eval_mode(
    name: str, keep: bool, towers: dict[str, tuple[Path, nn.Module]]
) -> None:
    tower = PretrainedTower(pretrained=str(towers[name][0]), keep_prefix=keep, pyramid_width=6)
    set_trainable(tower, ["pyramid"])
    tower.train()
    part, pixels = FrozenPart(tower), torch.randn(2, 3, 32, 48)
    assert part.rests and not tower.tower.training and tower.pyramid.training
    seen, again = tower(pixels), part.outputs(part.features(pixels))
    assert torch.equal(seen.tokens, again.tokens)
    assert all(map(torch.equal, seen.pyramid, again.pyramid))
    again.pyramid[0].sum().backward()
    assert all(p.grad is None for p in tower.tower.parameters())
    set_trainable(tower, ["tower"])
    assert not part.rests and tower.train().tower.training
