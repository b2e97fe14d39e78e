"""Answers with knowledge: what is read, found, left out, put before a question, and cited."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.checkpoints import CALM, tiny_run

import rsmoe
from rsmoe import evaluate, predict
from rsmoe.archive.mixture_embedder import MixtureEmbedder
from rsmoe.commands import knowledge as command
from rsmoe.config import compose
from rsmoe.data.notes import Note, cited, notes_turn
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.known import Known, Nothing, informed
from rsmoe.evaluation.responder import Responder
from rsmoe.geo.georeference import Georeference
from rsmoe.knowledge.knowledge import Knowledge
from rsmoe.knowledge.knowledge_store import KnowledgeStore
from rsmoe.knowledge.read_notes import read_notes
from rsmoe.metrics.prediction import Prediction
from rsmoe.scenes.generator import SceneGenerator

OPTIONS = {"alike": 0.9, "limit": 2, "weight": 0.5, "lookup": False}


class MeanEmbedder:
    """Pictures by their mean colour, texts by their length: what is alike is known beforehand."""

    fingerprint, bands, dim = "c0105", 3, 3

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return unit(np.stack([image.reshape(-1, 3).mean(0) - 110 for image in images]))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return unit(np.array([[len(text), 10.0, 0.0] for text in texts]))

    def unknown_words(self, text: str) -> list[str]:
        return []


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def town(seed: int, colour: tuple[int, int, int]) -> np.ndarray:
    """(96, 96, 3) texture around a colour, so that copies can be told from look-alikes."""
    texture = Image.fromarray(np.random.default_rng(seed).integers(0, 90, (12, 12), dtype=np.uint8)).resize((96, 96))
    return np.clip(np.asarray(texture)[..., None] + np.array(colour), 0, 255).astype(np.uint8)


RED, BLUE = (160, 10, 10), (10, 10, 160)
ASKED = town(1, RED)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> MeanEmbedder:
    made = MeanEmbedder()
    monkeypatch.setattr(MixtureEmbedder, "open", lambda checkpoint, *, device: made)
    return made


def table(folder: Path, rows: Sequence[dict[str, Any]], pictures: dict[str, np.ndarray] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in (pictures or {}).items():
        Image.fromarray(pixels).save(folder / name)
    with (folder / "places.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["name", "image", "lon", "lat", "built", "owner"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "places.csv"


def made(folder: Path, source: Path, *words: str) -> Knowledge:
    command.cli([f"notes={source}", f"out={folder}", "alike=0.9", "limit=2", *words])
    return Knowledge.open(folder, device="cpu")


def ids(known: Known) -> list[str]:
    return [note.id for note in known.notes]


def test_the_picture_of_another_day_tells_and_a_copy_of_the_one_asked_about_does_not(
    embedder: MeanEmbedder, tmp_path: Path
) -> None:
    """RS-RAG's base holds the picture that is asked about: there it finds itself, and its answer with it."""
    jpeg = io.BytesIO()
    Image.fromarray(ASKED[:, ::-1]).resize((70, 70)).save(jpeg, "JPEG", quality=70)
    copies = {"same.png": ASKED, "turned.png": np.asarray(Image.open(jpeg))}
    pictures = copies | {"later.png": town(2, RED), "elsewhere.png": town(3, BLUE)}
    rows = [{"name": Path(name).stem, "image": name, "built": 1900 + i} for i, name in enumerate(pictures)]
    knowledge = made(tmp_path / "store", table(tmp_path / "places", rows, pictures))
    known = knowledge.about(ASKED, "When was it built?")
    assert ids(known) == ["later#built"]
    assert known.said == "2 notes left out: their picture is the one that is asked about"
    as_rs_rag = Knowledge.open(tmp_path / "store", device="cpu", lookup=True)
    as_rs_rag.limit = 3
    assert sorted(ids(as_rs_rag.about(ASKED, "When was it built?"))) == ["later#built", "same#built", "turned#built"]


def test_a_place_is_found_by_its_point_and_a_point_elsewhere_rules_a_look_alike_out(
    embedder: MeanEmbedder, tmp_path: Path
) -> None:
    here = Georeference("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 96, 96)
    ((lon, lat),) = here.to_lonlat(np.array([[48.0, 48.0]]))
    rows = [
        {"name": "inside", "lon": lon, "lat": lat, "built": "1962"},
        {"name": "outside", "lon": lon + 1, "lat": lat, "image": "alike.png", "built": "1920"},
    ]
    knowledge = made(tmp_path / "store", table(tmp_path / "places", rows, {"alike.png": town(2, RED)}))
    assert ids(knowledge.about(ASKED, "When?", georeference=here)) == ["inside#built"]
    assert ids(knowledge.about(ASKED, "When?")) == ["outside#built"]
    far = Georeference("EPSG:32633", (10.0, 0.0, 300_000.0, 0.0, -10.0, 4_000_000.0), 96, 96)
    nothing = knowledge.about(ASKED, "When?", georeference=far)
    assert not nothing.notes and nothing.said.startswith("answered without knowledge: nothing in")


def test_the_words_of_the_question_choose_among_the_notes_on_a_place(embedder: MeanEmbedder, tmp_path: Path) -> None:
    rows = [{"name": "ferry", "image": "a.png", "built": "1962", "owner": "halden"}]
    source = table(tmp_path / "places", [*rows, {"name": "b", "image": "b.png", "owner": "x"}], {
        "a.png": town(2, RED), "b.png": town(3, BLUE)})  # fmt: skip
    knowledge = made(tmp_path / "store", source, "limit=1")
    assert ids(knowledge.about(ASKED, "In which year was it built?")) == ["ferry#built"]
    assert ids(knowledge.about(ASKED, "Who is the owner?")) == ["ferry#owner"]
    assert ids(knowledge.about(town(9, BLUE), "Who is the owner?")) == ["b#owner"]


def test_three_forms_of_notes(tmp_path: Path) -> None:
    Image.fromarray(ASKED).save(tmp_path / "7.png")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "pier.md").write_text(
        "---\nimage: 7.png\nlon: 9.5\nlat: 53.4\n---\n"
        "# Old Pier\n\nBuilt in 1962,\nby Halden.\n\n- Closed in winter.\n- No cars.\n"
    )
    read = read_notes(notes, images=tmp_path)
    assert [(n.id, n.text) for n in read] == [
        ("pier#1", "Old Pier: Built in 1962, by Halden."), ("pier#2", "Old Pier: Closed in winter."),
        ("pier#3", "Old Pier: No cars."),
    ]  # fmt: skip
    assert read[0].picture == tmp_path / "7.png" and read[0].point == (9.5, 53.4)
    facts = {"Name": "Old Pier", "Construction_Period": "1962", "Major_Events": ["fire", "flood"], "Visitors": []}
    records = [{"ID": "7", "image_name": "Old Pier", "world knowledge": facts}]
    (tmp_path / "rswk.json").write_text(json.dumps(records))
    assert [(n.id, n.text) for n in read_notes(tmp_path / "rswk.json")] == [
        ("7#Construction_Period", "Old Pier, Construction Period: 1962"),
        ("7#Major_Events", "Old Pier, Major Events: fire; flood"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a", "built": "1"}, "neither an image nor lon and lat"),
        ({"name": "a", "image": "none.png", "built": "1"}, "no picture none.png"),
        ({"name": "a", "lon": "9", "built": "1"}, "go together"),
        ({"name": "a", "lon": "9", "lat": "north", "built": "1"}, "are no degrees"),
        ({"lon": "9", "lat": "5", "built": "1"}, "no 'name' and no 'id'"),
    ],
)
def test_a_note_without_its_place_is_named(row: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_notes(table(tmp_path, [row]))


def test_citations_become_ids() -> None:
    notes = (Note(id="a", text="x"), Note(id="b", text="y"))
    assert cited("1962 [ 2 ]", notes) == ("1962", ("b",))
    assert cited("1962 [2] [1] [2] [7]", notes) == ("1962", ("b", "a"))
    assert cited("two [ships]", notes) == ("two [ships]", ())
    assert notes_turn(["x", "y"])[1] == "[1] x [2] y"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"), *CALM)


@pytest.fixture(scope="module")
def model(run: Path) -> Assistant:
    return rsmoe.load(run, device="cpu")


class Told:
    """Two notes on every picture."""

    fingerprint = "two"

    def about(self, picture: np.ndarray, question: str, *, georeference: Georeference | None) -> Known:
        return Known(notes=(Note(id="a", text="ships : two"), Note(id="b", text="built : 1962")))


def test_an_answer_has_read_its_notes_and_names_its_source(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    collate = Responder._collated

    def seen(self: Responder, samples: Sequence[Sample]) -> Any:
        batch = collate(self, samples)
        prompts.extend(self.run.codec.decode(row.tolist()) for row in batch.prompt_ids)
        return batch

    monkeypatch.setattr(Responder, "_collated", seen)
    monkeypatch.setattr(
        "rsmoe.evaluation.responder.answer_batch",
        lambda *_, **__: [
            Prediction(id="request", task="caption", text="two [2]", weights=(1.0,) * len(model.experts))
        ],
    )
    reply = model.ask(ASKED, "how many ships are there ?", knowledge=Told())
    assert (reply.text, reply.sources, reply.notes) == ("two", ("b",), ())
    assert "ships" in prompts[0] and len(prompts[0].split()) > len("how many ships are there ?".split()) + 6
    reply = model.ask(ASKED, "how many ships are there ?", knowledge=Nothing("no store in x"))
    assert (reply.text, reply.sources) == ("two", ())
    assert reply.notes == ("answered without knowledge: no store in x",)


def test_notes_that_do_not_fit_are_left_out_and_said(model: Assistant) -> None:
    sample = Sample(id="a", images=(ASKED,), instruction="how many ?", responses=("",), task="vqa", source="x")
    many = Known(notes=tuple(Note(id=str(i), text="a ship " * 8) for i in range(9)))
    told, known = informed(sample, many, model.run.collate)
    assert 0 < len(known.notes) < 9 and known.notes == many.notes[: len(known.notes)]
    assert model.run.collate.prompt_length(told) <= model.run.collate.max_prompt
    assert known.said.startswith(f"of the notes, {len(known.notes)} fit")


def test_a_store_that_is_gone_is_said_and_answered_without(
    run: Path, embedder: MeanEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"name": "ferry", "image": "a.png", "built": "1962"}]
    knowledge = made(tmp_path / "store", table(tmp_path / "places", rows, {"a.png": town(2, RED)}))
    shutil.rmtree(tmp_path / "store" / "pictures")
    model = rsmoe.load(run, device="cpu")
    (note,) = model.ask(ASKED, "how many ships ?", knowledge=knowledge, max_new=2).notes
    assert note.startswith("answered without knowledge: ")
    Image.fromarray(ASKED).save(tmp_path / "a.png")
    capsys.readouterr()
    words = ["instruction=how many ships ?", f"image={tmp_path / 'a.png'}", f"checkpoint={run}", "max_new=2", "beams=1"]
    predict.cli([*words, f"knowledge={tmp_path / 'none'}"])
    assert "answered without knowledge: no knowledge in" in capsys.readouterr().out.replace("\n", " ")


def test_a_number_is_never_without_the_store_that_was_named_nor_by_a_copy(
    run: Path, embedder: MeanEmbedder, tmp_path: Path
) -> None:
    def call(*words: str) -> None:
        from omegaconf import OmegaConf

        always = [f"checkpoint={run}", "benchmark=landmarks", "benchmark.landmarks.train=null", "draws=0",
                  "benchmark.landmarks.reader.size=4",
                  "pictures=0", "beams=1", "max_new=2", f"out={tmp_path / 'out'}"]  # fmt: skip
        config = OmegaConf.to_container(compose([*always, *words], name="evaluate"), resolve=True)
        evaluate.evaluate(config)  # type: ignore[arg-type]

    with pytest.raises(UserError, match="no knowledge in"):
        call(f"knowledge={tmp_path / 'none'}")
    generator = SceneGenerator(size_px=96)
    pictures = {f"{n}.png": generator.scene(20_000_000 + n // 2, visit=n % 2).image for n in range(4)}
    rows = [{"name": Path(name).stem, "image": name, "built": "1900"} for name in pictures]
    made(tmp_path / "store", table(tmp_path / "places", rows, pictures), "alike=-1", "lookup=true", "limit=9")
    call(f"knowledge={tmp_path / 'store'}")
    lines = (tmp_path / "out/landmarks/predictions.jsonl").read_text().splitlines()
    given = [json.loads(line)["ranking"] for line in lines]
    assert [sorted(own) for own in given] == [["1#built", "2#built", "3#built"]] * 2 + [
        ["0#built", "1#built", "3#built"]
    ] * 2
    with pytest.raises(UserError, match="came about otherwise: knowledge"):
        call()


def test_vectors_of_another_model_are_refused(embedder: MeanEmbedder, tmp_path: Path) -> None:
    rows = [{"name": "ferry", "lon": 9, "lat": 5, "built": "1962"}]
    notes = read_notes(table(tmp_path / "places", rows))
    facts = {**OPTIONS, "checkpoint": "starter"}
    quiet = Console(quiet=True)
    store = KnowledgeStore.write(tmp_path / "store", notes, embedder, facts=facts, batch_size=4, console=quiet)
    assert [note.text for note in store.notes] == ["ferry, built 1962"]
    embedder.fingerprint = "other"  # type: ignore[misc]
    with pytest.raises(UserError, match="another model"):
        Knowledge.open(tmp_path / "store", device="cpu")
