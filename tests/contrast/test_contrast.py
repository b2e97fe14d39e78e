"""A dual encoder from the command line: it learns, goes on where it stopped, and is asked again by rsmoe.evaluate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.models import tiny_config

import rsmoe
import rsmoe.evaluate
from rsmoe.archive.tile_store import TileStore
from rsmoe.build import build_model
from rsmoe.commands import index, search
from rsmoe.commands.contrast import contrast
from rsmoe.config import compose, conf_dir
from rsmoe.contrast.build import load_dual
from rsmoe.contrast.dual_encoder import DualEncoder
from rsmoe.contrast.in_parts import in_parts
from rsmoe.contrast.info_nce import InfoNCE
from rsmoe.contrast.open_dual import open_dual
from rsmoe.contrast.pooled_head import PooledHead
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.contrast.text_transformer import TextTransformer
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.training.checkpoints import load_checkpoint
from rsmoe.training.sources import check_sources
from rsmoe.training.start import start_vision
from rsmoe.vision.frozen import FrozenPart

RECIPES = sorted(path.stem for path in (conf_dir() / "recipe").glob("*.yaml"))
SMALL = (
    "recipe=clip_scenes", "corpus.scenes.reader.size=24", "benchmark.scenes_retrieval.reader.size=12", "image_size=32",
    "vision.stem=8", "vision.widths=[8,16]", "vision.depths=[1,1]", "text_tower.width=16",
    "image_head.dim=16", "image_head.heads=2", "image_head.hidden=16", "stage.batch_size=8", "stage.steps=4",
    "draws=20", "logger=csv",
)  # fmt: skip


def config_of(*words: str) -> dict[str, Any]:
    config: dict[str, Any] = OmegaConf.to_container(compose([*SMALL, *words], name="contrast"), resolve=True)  # type: ignore[assignment]
    return config


def trained(folder: Path, *words: str) -> Path:
    folder.mkdir(parents=True)
    contrast(config_of(*words), folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_checkpoint(folder)["state_dict"]
    return state


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("dual") / "run")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(recipe: str) -> None:
    config = OmegaConf.to_container(compose([f"recipe={recipe}"], name="contrast"), resolve=True)
    assert isinstance(config, dict) and config["name"] == recipe and config["corpus"] and config["benchmark"]
    assert all(entry["as"] == "retrieval" for entry in config["corpus"].values())
    assert all("reader" in node for node in config["benchmark"].values())


@pytest.mark.parametrize("loss", ["info_nce", "siglip"])
def test_it_learns_which_caption_belongs_to_which_scene(tmp_path: Path, loss: str) -> None:
    """On what it was trained on: six times the chance level of one in twelve."""
    words = ["corpus.scenes.reader.size=12", "benchmark.scenes_retrieval.split=train", "loader.augment=false"]
    words += ["stage.steps=80", "stage.batch_size=12", "stage.lr=5e-3", "text_tower.dropout=0", "image_head.dropout=0"]
    run = trained(tmp_path / "run", *words, f"pair_loss={loss}", "captions=2")
    found = json.loads((run / "evaluation" / "scenes_retrieval" / "metrics.json").read_text())
    numbers = {row["metric"]: row["value"] for row in found["results"]}
    assert numbers["retrieval/i2t_r1"] > 50 and numbers["retrieval/t2i_r1"] > 50
    assert all(row["protocol"] == "generated/retrieval/all-captions@1" for row in found["results"])
    assert {row["metric"] for row in found["baselines"]["majority"]} >= {"retrieval/mr"}


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", "checkpoint_every=3")
    again = trained(tmp_path / "again", f"resume={whole / 'checkpoints' / 'last.ckpt'}")
    first, second = weights(whole), weights(again)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_an_encoder_goes_from_run_to_run(run: Path, tmp_path: Path) -> None:
    """Dual encoder -> mixture -> dual encoder: at no step that trains it, the encoder is the first one's."""
    codec = TextCodec.fit(["two ships"], special=("[RET]", "[SEG]"))
    config = tiny_config() | {"vision": config_of()["vision"]}
    check_sources(config | {"start": str(run), "resume": None})  # what a training looks at before the work
    model = build_model(config, codec, codec)
    vision = model.get_submodule("vision")
    assert start_vision(vision, load_checkpoint(run)) == (len(vision.state_dict()), [])
    hparams = {"config": config, "codec": codec.state(), "instruction_codec": codec.state()}
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": hparams}, tmp_path / "mixture.ckpt")
    back = trained(
        tmp_path / "back", f"start={tmp_path / 'mixture.ckpt'}", 'stage.train=["*",-vision]', "stage.steps=1"
    )
    first, last = weights(run), weights(back)
    assert all(torch.equal(first[name], last[name]) for name in first if name.startswith("model.vision."))
    with pytest.raises(UserError, match="no weight of that run's vision encoder has a place"):
        start_vision(torch.nn.Linear(1, 1), load_checkpoint(run))


@pytest.mark.slow
def test_stored_features_change_nothing(tmp_path: Path) -> None:
    words = [word for word in SMALL if not word.startswith(("vision", "image_size"))]
    common = [*words, "vision=efficientnet_lite0", "image_size=64", 'stage.train=["*",-vision]', "stage.steps=2"]
    runs = []
    for name, more in (("pixels", []), ("stored", [f"features={{folder:{tmp_path / 'store'}}}"])):
        config: Any = OmegaConf.to_container(compose([*common, *more], name="contrast"), resolve=True)
        (tmp_path / name).mkdir()
        contrast(config, tmp_path / name)
        runs.append(weights(tmp_path / name))
    assert list((tmp_path / "store").rglob("*.safetensors"))
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])


@pytest.mark.slow
def test_two_processes_train_and_one_reports(run: Path, tmp_path: Path) -> None:
    words = [word for word in SMALL if not word.startswith("draws")]
    env = os.environ | {"RSMOE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(rsmoe.__file__).parents[1])}
    env.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-m", "rsmoe.commands.contrast", *words, "draws=0", "trainer=cpus", "hydra.run.dir=run"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("everything is in") == 1
    first, second = weights(tmp_path / "run"), weights(run)
    assert first.keys() == second.keys() and all(bool(torch.isfinite(value).all()) for value in first.values())


def evaluate(*words: str) -> str:
    sys.argv = ["evaluate", *words]
    try:
        rsmoe.evaluate.cli()
    except SystemExit as stop:
        return str(stop.code)
    return ""


def test_evaluate_gives_the_numbers_of_the_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    words = [f"checkpoint={run}", "benchmark=scenes_retrieval", "benchmark.scenes_retrieval.reader.size=12"]
    assert evaluate(*words, f"out={tmp_path}", "draws=20") == ""
    one, two = (
        json.loads((folder / "scenes_retrieval" / "metrics.json").read_text())
        for folder in (run / "evaluation", tmp_path)
    )
    assert one["results"] == two["results"] and one["run"]["checkpoint_sha256"] == two["run"]["checkpoint_sha256"]
    rows = [json.loads(line) for line in (tmp_path / "scenes_retrieval" / "predictions.jsonl").read_text().splitlines()]
    every = {text for row in rows for text in row["references"]}
    assert len(rows) == 12 and all(row["text"] in every for row in rows)  # the nearest text, to be looked at
    assert "embeddings, nothing is decoded" in (tmp_path / "scenes_retrieval" / "report.md").read_text()


def test_an_archive_is_indexed_and_searched_by_a_run(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    store, found = tmp_path / "store", tmp_path / "found"
    index.cli([f"images={tmp_path}/*.png", f"out={store}", f"checkpoint={run}", "tile=0", "device=cpu"])
    search.cli([f"image={tmp_path}/b.png", f"store={store}", "device=cpu", f"out={found}"])
    hits = [hit["properties"] for hit in json.loads((found / "hits.geojson").read_text())["features"]]
    assert len(hits) == 3 and hits[0]["source"].endswith("b.png") and abs(hits[0]["cosine"] - 1) < 1e-3
    assert TileStore.open(store).facts["dim"] == 16


def test_evaluate_says_what_a_dual_encoder_cannot_do(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    told = evaluate(f"checkpoint={run}", "benchmark=scenes", "benchmark.scenes.reader.size=12")
    assert "scenes asks for caption, and a dual encoder embeds pictures and texts, no more" in told
    assert "router=: a dual encoder has none" in evaluate(f"checkpoint={run}", "benchmark=scenes", "router=uniform")
    words = ["benchmark=scenes_retrieval", "benchmark.scenes_retrieval.reader.size=12", "dry=true"]
    assert evaluate(f"checkpoint={run}", *words) == "" and "12 of 12 samples" in capsys.readouterr().out


def test_embeddings_are_of_length_one_and_do_not_depend_on_the_batch(run: Path) -> None:
    opened = open_dual(run, device="cpu")
    ids, mask = opened.tokens(["a river between two fields", "houses"])
    both = opened.model.embed_texts(ids, mask)
    alone = opened.model.embed_texts(*opened.tokens(["houses"]))
    torch.testing.assert_close(both.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)
    pixels = torch.randn(3, 3, 32, 32)
    images = opened.model.embed_images(pixels)
    torch.testing.assert_close(images[1:2], opened.model.embed_images(pixels[1:2]), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="text 2 of 2 is empty"):
        opened.tokens(["houses", " "])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_tower": {"_target_": "os.system"}}, "text_tower._target_=os.system is no part of conf/text_tower"),
        ({"pair_loss": {"_target_": "rsmoe.vision.resnet.ResNet"}}, "is no part of conf/pair_loss"),
        ({"bands": "x"}, "bands"),
    ],
)
def test_a_file_builds_known_parts_alone(run: Path, change: dict[str, Any], message: str) -> None:
    loaded = load_checkpoint(run)
    loaded["hyper_parameters"]["config"] = loaded["hyper_parameters"]["config"] | change
    with pytest.raises(UserError, match=message):
        load_dual(loaded)


def test_pooling_sees_every_token_and_padding_is_not_read() -> None:
    torch.manual_seed(0)
    head = PooledHead(width=12, dim=4, heads=3, hidden=8).eval()
    tokens = torch.randn(2, 5, 12, requires_grad=True)
    head(tokens).sum().backward()
    assert tokens.grad is not None and bool((tokens.grad.abs().sum(-1) > 0).all())
    with pytest.raises(UserError, match="image_head.heads=5: expected 0, or a divisor of the encoder's 12 channels"):
        PooledHead(width=12, dim=4, heads=5, hidden=8)
    for depth in (0, 2):
        tower = TextTransformer(vocab_size=9, dim=4, width=8, depth=depth, heads=2).eval()
        ids, mask = torch.tensor([[3, 4, 0, 0]]), torch.tensor([[True, True, False, False]])
        torch.testing.assert_close(tower(ids, mask), tower(ids[:, :2], mask[:, :2]), atol=1e-6, rtol=1e-5)


def test_word_order_counts_but_in_a_bag_of_words() -> None:
    torch.manual_seed(0)
    ids, mask = torch.tensor([[3, 4, 5], [5, 4, 3]]), torch.ones(2, 3, dtype=torch.bool)
    for depth, same in ((0, True), (1, False)):
        tower = TextTransformer(vocab_size=9, dim=4, width=8, depth=depth, heads=2).eval()
        if tower.places is not None:
            torch.nn.init.normal_(tower.places)
        one, two = tower(ids, mask).detach().numpy()
        assert np.allclose(one, two, atol=1e-6) is same


def test_long_texts_are_cut_at_their_end() -> None:
    codec = TextCodec.fit(["a b c d e"])
    ids, mask = TextTokens(codec, longest=3)(["a b c d e", "e"])
    assert codec.decode(ids[0].tolist()) == "a b c" and mask.tolist() == [[True] * 3, [True, False, False]]
    padded, read = TextTokens(codec, longest=4, padded=True)(["e"])
    assert padded.shape == (1, 4) and bool(read.all())


@pytest.mark.parametrize("stored", [False, True])
def test_gradient_caching_keeps_few_activations_and_changes_no_gradient(stored: bool) -> None:
    """Eight pictures, three at once: the same loss and gradients, dropout included, on less than half of the memory."""
    torch.manual_seed(0)
    vision = instantiate(config_of()["vision"])
    image = PooledHead(width=vision.width, dim=8, heads=2, hidden=16, dropout=0.0)
    text = TextTransformer(vocab_size=20, width=16, depth=1, heads=2, dim=8)
    model = DualEncoder(vision=vision, image=image, text=text, loss=InfoNCE()).eval()
    pixels = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        features = tuple(level[:, None] for level in FrozenPart(vision).features(pixels)) if stored else None
    batch: Any = SimpleNamespace(pixels=pixels[:, None], view=torch.tensor([3, 3, *range(8)]), features=features)
    ids = torch.randint(3, 20, (8, 5))

    def kept(part: int | None) -> tuple[int, list[torch.Tensor]]:
        sizes: list[int] = []

        def count(x: torch.Tensor) -> torch.Tensor:
            sizes.append(x.numel() if x.grad_fn is not None else 0)
            return x

        model.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            images = model.embed_batch(batch, part=part)
            texts = in_parts(model.embed_texts, ids, torch.ones_like(ids, dtype=torch.bool), size=part)
            loss = (images[2:] @ texts.T).square().sum()
        before = sum(sizes)
        loss.backward()
        return before, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    (whole, expected), (few, found) = kept(None), kept(3)
    assert few < whole / 2
    assert len(found) == len(expected) > 10
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_run_in_parts_reports_as_a_whole_one(tmp_path: Path) -> None:
    """On frozen features, without dropout, by plain gradient descent: the weights agree."""
    words = ["stage.train=['*',-vision]", "features={}", "loader.augment=false", "image_head.dropout=0"]
    words += ["text_tower.dropout=0", "optimizer=sgd"]
    whole, parts = (weights(trained(tmp_path / f"{part}", *words, f"part={part}")) for part in ("null", "3"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)
