"""The model that comes with the library."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rsmoe
from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError
from rsmoe.evaluate import default_folder
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.open_run import _box_convention
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint
from rsmoe.weights.starter import starter_folder


@pytest.fixture(scope="module")
def starter() -> Assistant:
    return rsmoe.load("starter", device="cpu")


def scene(seed: int = 0) -> np.ndarray:
    return SceneGenerator(size_px=96, seed=seed).scene(10**6).image


def test_it_is_small_and_names_no_place_of_the_machine_it_was_trained_on() -> None:
    files = {path.name: path for path in starter_folder().iterdir()}
    assert set(files) == {"README.md", "config.json", "model.safetensors"}
    assert sum(path.stat().st_size for path in files.values()) <= 16e6
    assert not {"/tmp", "/work", "/home"} & {part for part in files["config.json"].read_text().split('"')}
    assert not any(place in files["config.json"].read_text() for place in ('"/tmp/', '"/work/', '"/home/'))


def test_it_serves_every_task(starter: Assistant) -> None:
    served = {task for expert in starter.run.model.experts for task in expert.tasks}
    assert served == set(task_names())


@pytest.mark.parametrize(
    ("instruction", "experts"),
    [
        ("How many ships are there?", ["vqa"]),
        ("Is there a river in the image?", ["vqa"]),
        ("Describe this image in one sentence.", ["theme", "object", "relation"]),
        ("Locate every ship.", ["ground"]),
    ],
)
def test_a_request_goes_to_its_experts(instruction: str, experts: Sequence[str], starter: Assistant) -> None:
    answer = starter.ask(scene(), instruction)
    assert sum(answer.routing[name] for name in experts) > 0.5, answer.routing
    assert answer.text.strip()


def test_what_the_page_offers_to_ask_is_understood(starter: Assistant) -> None:
    """The first of its examples is a sentence, the second one word or two, the last yes or no, on any picture."""
    page = (Path(rsmoe.__file__).parent / "web" / "page.html").read_text()
    found = re.search(r"const EXAMPLES = \{ one: (\[.*?\])", page)
    assert found is not None
    offered = json.loads(found[1])
    scenes = [SceneGenerator(size_px=256, seed=3).scene(number).image for number in (1, 3, 7, 16)]
    sentences, themes, words = ([reply.text for reply in starter.ask(scenes, words)] for words in offered)
    assert all(len(text.split()) > 4 for text in sentences) and all(len(text.split()) < 4 for text in themes)
    assert set(words) == {"yes", "no"}, words


def test_two_dates_go_to_the_expert_of_changes(starter: Assistant) -> None:
    answer = starter.ask((scene(0), scene(1)))
    assert max(answer.routing, key=answer.routing.__getitem__) == "change" and answer.text.strip()


def test_boxes_lie_in_the_picture(starter: Assistant) -> None:
    assert starter.run.box_convention == "minigpt"


def test_answers_are_those_of_any_machine(starter: Assistant) -> None:
    """The same picture as an array and as a file; alone, and beside another."""
    alone = starter.ask(scene(), "Describe this image in one sentence.").text
    beside = starter.ask([scene(1), scene()], "Describe this image in one sentence.")[1].text
    assert alone == beside


def test_a_folder_of_its_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint(Path("starter")) == starter_folder() / "model.safetensors"
    (tmp_path / "starter").mkdir()
    with pytest.raises(rsmoe.errors.UserError, match="no checkpoint in"):
        find_checkpoint(Path("starter"))


@pytest.mark.parametrize(("version", "told"), [("9.9.9", "rsmoe 9.9.9 wrote it, and this is "), (None, None)])
def test_one_of_another_version_that_cannot_be_built_says_so(
    version: str | None, told: str | None, tmp_path: Path
) -> None:
    shutil.copytree(starter_folder(), tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    config = json.loads(path.read_text())
    config["hyper_parameters"]["config"]["vision"]["windowed"] = True
    config["rsmoe_version"] = version or rsmoe.__version__
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="unknown key of vision .*'windowed'") as refused:
        rsmoe.load(tmp_path / "theirs", device="cpu")
    assert told in str(refused.value) if told else "wrote it" not in str(refused.value)


def test_its_numbers_are_not_written_into_the_package() -> None:
    assert default_folder(find_checkpoint(Path("starter"))) == Path("runs/starter/evaluation/model")


def test_it_can_be_started_from() -> None:
    checkpoint = load_checkpoint(Path("starter"))
    assert all(torch.isfinite(v).all() for v in checkpoint["state_dict"].values() if v.is_floating_point())
    assert json.loads((starter_folder() / "config.json").read_text())["hyper_parameters"]["config"]["name"] == "starter"


@pytest.mark.slow
def test_a_picture_is_asked_without_a_checkpoint(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(scene()).save(stream, "png")
    (tmp_path / "port.png").write_bytes(stream.getvalue())
    words = [sys.executable, "-m", "rsmoe.predict", "image=port.png", "instruction=How many ships are there?"]
    told = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[0].strip() and "vqa" in told


@pytest.mark.parametrize(
    ("readers", "convention"),
    [
        ([{"convention": "minigpt", "box_convention": "pixel_xyxy"}, {}], "minigpt"),  # as rsvg.yaml
        ([{"box_convention": "pixel_xyxy"}], "pixel_xyxy"),  # as own data
        ([{"convention": "minigpt"}, {"boxes": "vrsbench"}], None),
    ],
)
def test_boxes_are_read_as_they_are_answered(readers: list[dict[str, str]], convention: str | None) -> None:
    corpus = {str(place): {"reader": reader} for place, reader in enumerate(readers)}
    assert _box_convention({"corpus": corpus}) == convention
