"""``rsmoe.load(run).ask(pictures, words)``: every form of a picture, lists as one batch, folders and the hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rich.console import Console
from support.checkpoints import tiny_run

import rsmoe
from rsmoe.data.change.instructions import CAPTION
from rsmoe.data.notes import Note
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation import responder as module
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.embedding import EMBED
from rsmoe.evaluation.known import Known
from rsmoe.evaluation.located import answer_boxes
from rsmoe.evaluation.reply_files import write_mask, write_reply
from rsmoe.evaluation.request import DESCRIBE, Request
from rsmoe.generation.decoding import Decoding
from rsmoe.geo.dates import Dates
from rsmoe.metrics.prediction import Prediction
from rsmoe.model import RSMoE
from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint

CALM = ("temporal.dropout=0.0",)
ASKED = "how many ships are there in the image ?"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"), *CALM, steps=2)


@pytest.fixture(scope="module")
def model(run: Path) -> Assistant:
    return rsmoe.load(run, device="cpu")


def picture(seed: int = 0, size: tuple[int, int] = (40, 52)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


@pytest.fixture
def looks(model: Assistant) -> Iterator[list[int]]:
    """Number of pictures in each forward pass of the encoder."""
    seen: list[int] = []
    handle = model.run.model.vision.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    yield seen
    handle.remove()


class Notes:
    """A store that has one note on every picture."""

    fingerprint = "notes"

    def about(self, picture: np.ndarray, question: str, *, georeference: Any) -> Known:
        return Known(notes=(Note(id="n", text="this is port 7"),))


def test_a_model_that_was_trained_without_earlier_turns_reads_each_request_alone(model: Assistant) -> None:
    pixels, turns = picture(), (("what is there ?", "a port with ships"),)
    alone, following = (Request(id="a", pictures=(pixels,), instruction=ASKED, history=h) for h in ((), turns))
    single = Assistant(run=replace(model.run, dialogues=False))
    (expected,) = model.answer([alone], max_new=6)
    for asker, reads in ((model, True), (single, False)):
        first, then = asker.answer([alone, following], max_new=6)
        (known,) = asker.answer([alone], max_new=6, knowledge=Notes())
        assert not first.notes and first.text == expected.text
        for reply in (then, known):
            assert (reply.prompt_tokens > first.prompt_tokens) == reads
            assert any("the request was read alone" in note for note in reply.notes) != reads
            assert reads or reply.text == expected.text


def test_every_form_of_a_picture_is_the_same_picture(model: Assistant, tmp_path: Path) -> None:
    pixels = picture()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=52, height=40, count=3, dtype="uint8", photometric="RGB",
        crs="EPSG:32632", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, -1, 0))
    forms = [pixels, Image.fromarray(pixels), tmp_path / "a.png", str(tmp_path / "a.png"), tmp_path / "a.tif"]
    replies = [model.ask(form, ASKED, max_new=6) for form in forms]
    for reply in replies:
        assert (reply.text, reply.instruction) == (replies[0].text, ASKED)
        assert reply.routing == pytest.approx(replies[0].routing, abs=1e-6)
        np.testing.assert_array_equal(reply.shown.images[0], pixels)
    assert replies[-1].dates.georeference is not None and replies[0].dates.georeference is None
    grey = model.ask(pixels[..., 0], ASKED, max_new=2)
    assert grey.shown.images[0].shape == (40, 52, 3)
    assert sum(replies[0].routing.values()) == pytest.approx(1, abs=1e-5)
    assert set(replies[0].routing) == set(model.experts)


def test_a_list_is_one_batch_and_one_pass(model: Assistant, looks: list[int]) -> None:
    pictures = [picture(seed) for seed in range(3)]
    one = [model.ask(own, ASKED, max_new=4) for own in pictures]
    looks.clear()
    several = model.ask(pictures, ASKED, max_new=4)
    assert looks == [3]
    assert [r.text for r in several] == [r.text for r in one]
    looks.clear()
    pairs = model.ask([(pictures[0], pictures[1]), (pictures[1], pictures[2])], max_new=4)
    assert looks == [4] and len(pairs) == 2 and pairs[0].instruction == CAPTION
    looks.clear()
    assert all(r.confidence is not None for r in model.ask(pictures, ASKED, max_new=4, confidence=True))
    assert looks == [3]
    looks.clear()
    weights = model.routing(pictures, ASKED)
    assert looks == [3]
    for reply, own in zip(several, weights, strict=True):
        assert own == pytest.approx(reply.routing, abs=1e-5)
    assert model.routing(pictures[0], ASKED) == pytest.approx(weights[0], abs=1e-5)


def test_boxes_and_masks_are_in_pixels_of_the_picture(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((40, 52), bool)
    mask[3:9] = True
    said = Prediction(
        id="a", task="caption", text="{<25><50><75><100>} [SEG]", weights=(1.0,) * len(model.experts), mask=mask
    )
    monkeypatch.setattr(module, "answer_batch", lambda model, codec, batch, **_: [said] * len(batch))
    np.testing.assert_allclose(model.boxes(picture(), "where ?", boxes="minigpt"), [[13, 20, 39, 40]])
    assert model.boxes([picture(), picture()], "where ?") == [None, None]  # nothing says how it writes boxes
    np.testing.assert_array_equal(model.mask(picture(), "the ship"), mask)
    located = replace(said, text="the ship is here [SEG]", boxes_px=np.array([[3.0, 4, 13, 24]], np.float32))
    monkeypatch.setattr(module, "answer_batch", lambda model, codec, batch, **_: [located] * len(batch))
    np.testing.assert_allclose(
        model.boxes(picture(), "where ?"), [[3, 4, 13, 24]]
    )  # those of a head need no convention
    large = Dates(images=(picture(),), valid=np.ones((80, 208), bool), georeference=None, notes=())
    thinned = replace(large, valid=np.ones((40, 52), bool))
    found = answer_boxes(located, None, (208, 80), thinned)  # in pixels of the whole picture
    np.testing.assert_allclose(found, [[12, 8, 52, 48]])


def test_each_target_is_a_layer_of_its_own(model: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Numbered in mask.tif and mask.geojson; the first of two has the pixels of both; what is not there has none."""
    first, second = np.zeros((2, 40, 52), bool)
    first[3:9, 10:20], second[6:12, 10:20] = True, True
    masks = (first, second, np.zeros((40, 52), bool))
    said = Prediction(
        id="a", task="mask", text="[SEG] [SEG] [SEG]", weights=(1.0,) * len(model.experts), mask=first | second,
        masks=masks,
    )  # fmt: skip
    monkeypatch.setattr(module, "answer_batch", lambda model, codec, batch, **_: [said] * len(batch))
    reply = model.ask(picture(), "mark every ship")
    assert [int(mask.sum()) for mask in reply.masks] == [60, 30, 0]
    assert write_mask(reply, tmp_path) == ["mask.tif", "mask_px.geojson", "mask.qml", "mask_px.qml"]
    with rasterio.open(tmp_path / "mask.tif") as file:
        np.testing.assert_array_equal(file.read(1), first + 2 * (second & ~first))
    features = json.loads((tmp_path / "mask_px.geojson").read_text())["features"]
    assert [(f["properties"]["target"], f["properties"]["pixels"]) for f in features] == [(1, 60), (2, 30)]
    assert features[1]["geometry"]["coordinates"][0][0] in ([10, 9], [20, 9], [20, 12], [10, 12])


def test_how_much_is_marked_is_said(model: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty mask is a note of the reply, for every way to ask; the command says the share that is marked."""
    mask = np.zeros((40, 52), bool)
    for rows, said in ((0, "0"), (1, "2.5")):
        mask[:rows] = True
        found = Prediction(id="a", task="mask", text="every ship [SEG]", weights=(1.0,) * len(model.experts), mask=mask)
        monkeypatch.setattr(module, "answer_batch", lambda model, codec, batch, found=found, **_: [found] * len(batch))
        reply = model.ask(picture(), "mark every ship")
        assert (reply.notes == ("mask: it is empty, nothing was found to mark",)) == (rows == 0)
        for out, then in ((tmp_path, f"written to {tmp_path}: mask.tif"), (None, "of the pixels: add out=mask.png")):
            printed = Console(file=StringIO(), width=500)
            write_reply(reply, out, titles=["a"], cover_classes=(), change_classes=(), console=printed)
            words = printed.file.getvalue()
            assert f"mask of {said} % of the pixels" in words and then in words


def test_how_sure_it_is_is_the_mean_log_probability(model: Assistant) -> None:
    """Against teacher forcing of each answer by itself."""
    replies = model.ask([picture(1), picture(2)], ASKED, max_new=5, confidence=True)
    for seed, reply in zip((1, 2), replies, strict=True):
        alone = model.ask(picture(seed), ASKED, max_new=5, confidence=True)
        assert reply.confidence == pytest.approx(alone.confidence, abs=1e-4) and reply.confidence < 0
    assert model.ask(picture(1), ASKED, max_new=5).confidence is None


def test_an_answer_can_be_sampled(model: Assistant) -> None:
    pictures = [picture(seed) for seed in range(3)]
    options: dict[str, Any] = {"max_new": 6, "temperature": 1.2, "top_p": 0.95}
    drawn = model.ask(pictures, ASKED, seed=7, **options)
    assert [r.text for r in drawn] == [model.ask(own, ASKED, seed=7, **options).text for own in pictures]
    greedy = [reply.text for reply in model.ask(pictures, ASKED, beams=1, max_new=6)]
    assert greedy != [r.text for r in drawn] and len({model.ask(picture(), ASKED, **options).text for _ in "1234"}) > 1
    mixed = [
        Request(id="a", pictures=(pictures[0],), instruction=ASKED),
        Request(
            id="b", pictures=(pictures[1],), instruction=ASKED, decoding=Decoding(max_new=4, temperature=2, seed=1)
        ),
    ]
    own, other = model.answer(mixed, beams=1, max_new=6)
    assert (own.text, own.tokens, own.ended) == (greedy[0], 6, False)
    assert other.text == model.ask(pictures[1], ASKED, max_new=4, temperature=2, seed=1).text and other.tokens == 4
    with pytest.raises(UserError, match=r"^temperature=3: expected a number from 0 to 2"):
        model.ask(picture(), ASKED, temperature=3)
    with pytest.raises(UserError, match=r"^temperature=1 draws tokens, beams=3 searches"):
        model.ask(picture(), ASKED, temperature=1, beams=3)


def test_an_answer_ends_at_a_stop_word(model: Assistant) -> None:
    whole = model.ask(picture(), ASKED, beams=1, max_new=6)
    word = whole.text.split()[2]
    for stop in (word, [word], ["nosuch", word]):
        reply = model.ask(picture(), ASKED, beams=1, max_new=6, stop=stop)
        assert reply.text == whole.text.partition(word)[0].strip() and reply.ended
        assert reply.tokens <= 3 and reply.prompt_tokens == whole.prompt_tokens > 6
    with pytest.raises(UserError, match=r"^stop=\[''\]: expected texts"):
        model.ask(picture(), ASKED, stop=[""])


def test_pictures_and_texts_are_embedded_as_in_an_evaluation(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model writes [RET], its prediction holds the same embeddings."""
    network, codec, collate = model.run.model, model.run.codec, model.run.collate
    token = codec.token_id("[RET]")
    monkeypatch.setattr(RSMoE, "generate", lambda self, batch, *_, **__: [[token]] * len(batch))
    texts = ("a harbour seen from above", "a forest")
    samples = [
        Sample(id=str(i), images=(picture(i),), instruction=EMBED, responses=texts, task="retrieval", source="hand")
        for i in range(3)
    ]
    expected = answer_batch(network, codec, collate([(sample, 0) for sample in samples]), beams=1, max_new=4)
    found = model.embed([picture(i) for i in range(3)])
    assert found.shape == (3, 8) and not np.allclose(found[0], found[1])
    for own, prediction in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, prediction.image_embedding, atol=1e-5)
    np.testing.assert_allclose(model.embed(picture(1)), found[1], atol=1e-5)
    said = model.embed_texts(texts)
    np.testing.assert_allclose(said, expected[0].text_embeddings, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm([*found, *said], axis=1), 1, atol=1e-5)
    assert not np.allclose(said[0], said[1])
    with pytest.raises(UserError, match="^text 2 of 2 is empty"):
        model.embed_texts(["a", "[RET]"])


def test_a_model_without_a_retrieval_expert_embeds_nothing(tmp_path: Path) -> None:
    other = rsmoe.load(tiny_run(tmp_path, *CALM, experts="expert=[theme,vqa]", steps=1), device="cpu")
    for embed in (lambda: other.embed(picture()), lambda: other.embed_texts(["a"])):
        with pytest.raises(UserError, match=r"^this model has no retrieval expert, it has theme, vqa: train one with"):
            embed()


def test_each_expert_answers_alone_from_one_look(model: Assistant, looks: list[int]) -> None:
    answers = model.ask_each_expert(picture(), ASKED, max_new=4)
    assert looks == [1] and tuple(answers) == model.experts and all(isinstance(t, str) for t in answers.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.png", "no image file none.png"),
        (3.5, r"a picture is a path, an http\(s\) address, an array .* got float"),
        (torch.zeros(3, 8, 8), "got Tensor; of a torch tensor: "),
        (np.zeros((8, 8, 4), np.uint8), "3 bands .height x width x bands., got 8 x 8 x 4"),
        (np.zeros((8, 8, 3), np.float32), "uint8, got an array"),
        ((np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)), "arrays of one size.* 8 x 8 x 3, 8 x 9 x 3"),
        ((np.zeros((8, 8, 3), np.uint8), "a.png"), "all files, or all arrays"),
        ("ftp://example.com/a.tif", "expected a local path, or an address with http"),
    ],
)
def test_what_is_no_picture_is_one_line(given: Any, message: str, model: Assistant) -> None:
    with pytest.raises(UserError, match=message):
        model.ask(given, ASKED)


def test_what_is_asked_wrongly_is_one_line(model: Assistant) -> None:
    pixels = picture()
    wrong: list[tuple[str, Any]] = [
        ("a batch holds a request or more", lambda: model.ask([], ASKED)),
        ("a batch holds a request or more", lambda: model.embed([])),
        ("a batch holds a request or more", lambda: model.routing([])),
        ("a request is about a picture, or about several dates of it: got none", lambda: model.ask((), ASKED)),
        ("an instruction is one text, or None, got list; another one for each", lambda: model.ask([pixels], [ASKED])),
        ("an instruction is one text, or None, got int", lambda: model.routing(pixels, 3)),
        ("expected a list of texts, got \\[\\]", lambda: model.embed_texts([])),
        ("expected a list of texts, got 'a port'", lambda: model.embed_texts("a port")),
        ("beams=0: expected a whole number from 1 to 64 or null", lambda: model.ask(pixels, ASKED, beams=0)),
        ("beams=1.5: expected a whole number", lambda: model.ask(pixels, ASKED, beams=1.5)),
        ("unknown dtype 'float8'. Did you mean 'float32'", lambda: model.save_pretrained("never", dtype="float8")),  # type: ignore[arg-type]
        ("tile=3: expected", lambda: model.ask(pixels, ASKED, tile=3)),
        ("raster='16bit': expected options by name", lambda: model.ask(pixels, ASKED, raster="16bit")),  # type: ignore[arg-type]
        ("unknown option of raster 'strech'", lambda: model.ask(pixels, ASKED, raster={"strech": "sentinel2"})),
        ("knowledge=store: expected an opened store", lambda: model.ask(pixels, ASKED, knowledge="store")),  # type: ignore[arg-type]
        ("tile=a: expected", lambda: model.ask(pixels, ASKED, tile="a")),
    ]
    for message, call in wrong:
        with pytest.raises(UserError, match=f"^{message}"):
            call()


@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_an_instruction_without_a_word_asks_for_a_description(model: Assistant, nothing: str | None) -> None:
    assert model.ask(picture(), nothing, max_new=2).instruction == DESCRIBE


@pytest.mark.filterwarnings("error")
def test_an_array_that_may_not_be_written_is_a_picture(model: Assistant) -> None:
    """As np.asarray of a PIL image gives it; torch warns of such arrays once a process, at its first one."""
    torch.set_warn_always(True)
    try:
        model.ask(np.asarray(Image.fromarray(picture())), ASKED, max_new=2)
    finally:
        torch.set_warn_always(False)


def test_a_reply_is_shown_in_a_few_lines(model: Assistant) -> None:
    shown = repr(model.ask(picture(), ASKED, max_new=2, tile=16))
    assert "array" not in shown and "text=" in shown and "routing=" in shown and len(shown) < 1500


def test_a_saved_folder_asks_the_same_model(model: Assistant, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "saved")
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert len({p.stat().st_mode for p in folder.iterdir()}) == 1  # others may read the weights, as they may the card
    again = rsmoe.load(folder, device="cpu")
    for name, value in model.run.model.state_dict().items():
        assert torch.equal(value, again.run.model.state_dict()[name]), name
    ours, theirs = (m.ask(picture(), ASKED, max_new=6, confidence=True) for m in (model, again))
    assert ours.text == theirs.text and ours.confidence == pytest.approx(theirs.confidence, abs=1e-6)
    assert ours.routing == pytest.approx(theirs.routing, abs=1e-6)  # where weights lie in memory moves the last bit
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: rsmoe\n") and "rsmoe.load(" in card and "`vqa`: vqa" in card
    whole, shapes = (load_checkpoint(folder, weights=weights)["state_dict"] for weights in (True, False))
    assert {k: (v.shape, v.dtype) for k, v in whole.items()} == {k: (v.shape, v.dtype) for k, v in shapes.items()}
    assert all(value.is_meta for value in shapes.values()) and find_checkpoint(folder).name == "model.safetensors"
    twice = again.save_pretrained(tmp_path / "twice")
    assert (twice / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_folder_of_half_the_size_asks_the_rounded_model(model: Assistant, tmp_path: Path) -> None:
    whole, half = model.save_pretrained(tmp_path / "whole"), model.save_pretrained(tmp_path / "half", dtype="float16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    state = rsmoe.load(half, device="cpu").run.model.state_dict()
    for name, value in model.run.model.state_dict().items():
        rounded = value.half().float() if value.is_floating_point() else value
        assert state[name].dtype == value.dtype and torch.equal(state[name], rounded), name


def test_a_folder_of_a_quarter_of_the_size_is_half_a_step_away_at_most(model: Assistant, tmp_path: Path) -> None:
    whole, small = model.save_pretrained(tmp_path / "whole"), model.save_pretrained(tmp_path / "small", dtype="int8")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, small)]
    assert sizes[1] < 0.5 * sizes[0]  # rows of a tiny model are short
    state = rsmoe.load(small, device="cpu").run.model.state_dict()
    for name, value in model.run.model.state_dict().items():
        assert state[name].dtype == value.dtype, name
        if value.ndim < 2:
            assert torch.equal(state[name], value), name
            continue
        rows = value.flatten(1) if value.ndim == 4 else value.flatten(0, -2)
        step = rows.abs().amax(1, keepdim=True) / 127
        assert ((state[name].reshape(rows.shape) - rows).abs() <= 0.501 * step + 1e-12).all(), name
    again = rsmoe.load(small, device="cpu").save_pretrained(tmp_path / "again", dtype="int8")
    assert len({(folder / "model.safetensors").stat().st_size for folder in (small, again)}) == 1
    whole_state, shapes = (load_checkpoint(small, weights=weights)["state_dict"] for weights in (True, False))
    assert {k: (v.shape, v.dtype) for k, v in whole_state.items()} == {k: (v.shape, v.dtype) for k, v in shapes.items()}


def test_scales_that_fit_no_weight_are_one_line(model: Assistant, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = model.save_pretrained(tmp_path, dtype="int8")
    state = load_file(folder / "model.safetensors")
    state["to_lm.weight::scale"] = torch.ones(3)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(UserError, match="truncated or damaged"):
        rsmoe.load(folder, device="cpu")


def test_a_weight_beyond_float16_is_not_written(run: Path, tmp_path: Path) -> None:
    model = rsmoe.load(run, device="cpu")
    with torch.no_grad():
        model.run.model.to_lm.bias.fill_(1e6)
    with pytest.raises(UserError, match="not finite, first: to_lm.bias"):
        model.save_pretrained(tmp_path, dtype="float16")
    assert not (tmp_path / "model.safetensors").exists()


def test_tied_weights_are_written_once(tmp_path: Path) -> None:
    tied = tiny_run(tmp_path / "run", *CALM, "lm.config.tie_word_embeddings=true", steps=1)
    model = rsmoe.load(tied, device="cpu")
    folder = model.save_pretrained(tmp_path / "saved")
    lm = model.run.model.bank.get_submodule("lm")
    assert lm.get_parameter("lm_head.weight") is lm.get_parameter("model.embed_tokens.weight")
    ties = json.loads((folder / "config.json").read_text())["ties"]
    assert ties == {"bank.lm.lm_head.weight": "bank.lm.model.embed_tokens.weight"}
    again = rsmoe.load(folder, device="cpu").run.model.bank.get_submodule("lm")
    assert again.get_parameter("lm_head.weight") is again.get_parameter("model.embed_tokens.weight")


def test_what_was_changed_after_loading_is_saved(run: Path, tmp_path: Path) -> None:
    model = rsmoe.load(run, device="cpu")
    with torch.no_grad():
        model.run.model.to_lm.bias.fill_(0.25)
    model.save_pretrained(tmp_path)
    assert (rsmoe.load(tmp_path, device="cpu").run.model.to_lm.bias == 0.25).all()


def test_a_folder_is_checked_like_a_checkpoint(model: Assistant, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path)
    described = json.loads((folder / "config.json").read_text())
    described["hyper_parameters"]["config"]["vision"]["_target_"] = "os.mkdir"
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="not trusted"):
        rsmoe.load(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not of a model of rsmoe"):
        rsmoe.load(folder)
    model.save_pretrained(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="model.safetensors is truncated or damaged"):
        rsmoe.load(folder)


def test_the_hub_gets_the_folder(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None:
            sent["token"] = token

        def create_repo(self, repo_id: str, **options: Any) -> None:
            sent["repo"] = repo_id, options

        def upload_folder(self, *, folder_path: str, repo_id: str, **_: Any) -> str:
            sent["files"] = sorted(p.name for p in Path(folder_path).iterdir())
            return f"https://huggingface.co/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert model.push_to_hub("me/ships", private=True, token="t").endswith("me/ships/commit/1")
    assert sent["repo"] == ("me/ships", {"private": True, "exist_ok": True}) and sent["token"] == "t"
    assert sent["files"] == ["README.md", "config.json", "model.safetensors"]
    with pytest.raises(UserError, match="repo_id='ships': expected <owner>/<model>"):
        model.push_to_hub("ships")


def test_a_name_of_the_hub_is_fetched(model: Assistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model.save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(folder))
    assert rsmoe.load("me/ships").experts == model.experts
    monkeypatch.undo()
    with pytest.raises(UserError, match="no checkpoint at me/ships, and the Hugging Face hub does not give"):
        rsmoe.load("me/ships")
    with pytest.raises(UserError, match="no checkpoint at nothing; give starter, a run folder"):
        rsmoe.load("nothing")


def test_the_package_itself_loads_nothing() -> None:
    code = "import sys, rsmoe; print(sorted(m for m in ('torch', 'numpy', 'hydra', 'rasterio') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
