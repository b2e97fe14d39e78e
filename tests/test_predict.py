"""One answer on the command line, and one clear line where there can be none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models import codecs, requests, tiny_config, tiny_model
from PIL import Image
from test_training import Listed, data_of

import rsmoe.predict
from rsmoe.build import load_run
from rsmoe.predict import predict
from rsmoe.training.answer import answer_batch, embed_texts
from rsmoe.training.evaluation import evaluate
from rsmoe.training.run import load_checkpoint, run_stages
from rsmoe.training.stage import Stage

ROOT = Path(__file__).parent.parent
CALM = ("temporal.dropout=0.0", "words=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned what its requests say, and pictures."""
    home = tmp_path_factory.mktemp("predict")
    codec, words = codecs()
    model = tiny_model(*CALM, scrambled=False)
    stage = Stage(
        name="learn", steps=50, train=["*"], batch_size=10, lr=1e-2, warmup=5, teach_routes=50,
        losses={"text": 1.0, "label": 1.0, "mask_bce": 1.0, "retrieval": 1.0},
    )  # fmt: skip
    run_stages(
        model=model, data=data_of(requests()), stages=[stage], folder=home, seed=3,
        hparams={"config": tiny_config(*CALM), "codec": codec.state(), "instruction_codec": words.state()},
        trainer={"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1},
        logger={"_target_": "lightning.pytorch.loggers.CSVLogger"}, checkpoint_every=100, resume=None,
    )  # fmt: skip
    for sample in requests():
        for date, image in enumerate(sample.images):
            Image.fromarray(image).save(home / f"{sample.id}-{date}.png")
    (home / "empty.png").write_bytes(b"")
    whole = (home / "caption-0-0.png").read_bytes()
    (home / "cut.png").write_bytes(whole[: len(whole) // 2])
    return home


def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``python -m rsmoe.predict``, in this process."""
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    monkeypatch.setenv("COLUMNS", "200")
    code = 0
    try:
        rsmoe.predict.cli()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    out, err = capsys.readouterr()
    return code, out, err


def test_one_image(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "how many ships are there in the image ?"
    image = folder / "vqa-1-0.png"
    code, out, err = cli(capsys, monkeypatch, f"checkpoint={folder}", f"image={image}", f"instruction={asked}")
    assert code == 0, err
    given = predict(checkpoint=folder, images=[image], instruction=asked)
    lines = out.splitlines()
    assert lines[0].strip() == given["text"] == "two"
    assert max(given["weights"], key=given["weights"].get) == "vqa"
    assert abs(sum(given["weights"].values()) - 1) < 1e-5
    for name, weight in given["weights"].items():
        row = next(line for line in lines if f" {name} " in line)
        assert f"{weight:.3f}" in row
        assert given["prompts"].get(name, "") in row
    assert set(given["prompts"]) == {n for n, w in given["weights"].items() if w > 0}
    assert all(len(text.split("~")) == 5 for text in given["prompts"].values())  # four soft tokens, as nearest words


def test_two_images(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [folder / f"change_caption-2-{date}.png" for date in (0, 1)]
    code, out, err = cli(
        capsys, monkeypatch, f"checkpoint={folder}", f"image=[{pair[0]},{pair[1]}]", "instruction=what has changed ?"
    )  # fmt: skip
    assert code == 0, err
    given = predict(checkpoint=folder, images=pair, instruction="what has changed ?")
    assert out.splitlines()[0].strip() == given["text"]
    learned = {word for s in requests() if s.task == "change_caption" for text in s.responses for word in text.split()}
    assert given["text"] and set(given["text"].split()) <= learned
    assert max(given["weights"], key=given["weights"].get) == "change"


def test_a_mask_is_written_where_out_says(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = (f"checkpoint={folder}", f"image={folder / 'mask-3-0.png'}", "instruction=segment the ship")
    code, out, err = cli(capsys, monkeypatch, *words)
    assert code == 0 and "add out=mask.png" in out
    code, out, err = cli(capsys, monkeypatch, *words, f"out={tmp_path / 'mask.png'}")
    assert code == 0, err
    assert "[SEG]" in out
    written = np.asarray(Image.open(tmp_path / "mask.png"))
    assert written.shape == (32, 32) and set(np.unique(written)) <= {0, 255}


@pytest.mark.parametrize(
    "instruction",
    [
        "How many ships, boats or piers are there?",
        "What's this (in red)?",
        'Is the "old" harbour = the grey one?',
        "50% of it: {water} or [land]",
        "a back\\slash\\",
        "null",
    ],
)
def test_an_instruction_is_taken_word_for_word(
    instruction: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, object]] = []
    answer = {"text": "yes", "weights": {"vqa": 1.0}, "prompts": {}, "mask": None}
    monkeypatch.setattr(rsmoe.predict, "predict", lambda **given: heard.append(given) or answer)
    code, _, err = cli(
        capsys, monkeypatch, "checkpoint=my run (1), last", "image=IMG 2 (b), 'x'.png", f"instruction={instruction}"
    )  # fmt: skip
    assert code == 0, err
    expected = None if instruction == "null" else instruction
    assert heard[0]["instruction"] == expected
    assert heard[0]["checkpoint"] == Path("my run (1), last")
    assert heard[0]["images"] == [Path("IMG 2 (b), 'x'.png")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image={folder}/nothing.png"], "nothing.png"),
        (["image={folder}/empty.png"], "empty.png"),
        (["image={folder}/cut.png"], "cut.png"),
        (["image=[{folder}/caption-0-0.png,{folder}/nothing.png]"], "nothing.png"),
        (["image={folder}/caption-0-0.png", "checkpoint={folder}/none"], "no checkpoint at .*none"),
        (["image={folder}/caption-0-0.png", "checkpoint={folder}/empty.png"], "not a readable checkpoint"),
        (["image={folder}/caption-0-0.png", "instrution=x"], "unknown key 'instrution'. Did you mean 'instruction'"),
        ([], r"give .*image=\.\.\."),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [w.format(folder=folder) for w in words]
    given += [] if any(w.startswith("checkpoint=") for w in given) else [f"checkpoint={folder}"]
    code, out, err = cli(capsys, monkeypatch, *given)
    assert code != 0
    assert re.search(message, err), err
    assert err.startswith("error: ") and "Traceback" not in err + out
    assert len(err.strip().splitlines()) == 1


def test_the_command_itself(folder: Path) -> None:
    """In a process of its own, as a user starts it: the exit code and the absence of a traceback are the shell's."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "rsmoe.predict", "checkpoint=x", "imag=x.png"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_evaluation_scores_every_task(folder: Path) -> None:
    """The learned requests come back: texts, masks of the picture's size, embeddings of both sides."""
    model, codec, _ = load_run(load_checkpoint(folder))
    data = data_of(requests())
    data.datasets["test"] = {"hand": Listed(requests())}
    (outcome,) = evaluate(model=model, codec=codec, data=data, splits=["test"], beams=1, max_new=16)
    metrics = {r.metric: r.value for r in outcome.results}
    assert {m.split("/")[0] for m in metrics} == {"caption", "vqa", "change_caption", "mask", "retrieval", "routing"}
    by_id = {p.id: p for p in outcome.predictions}
    mask = by_id["mask-3"].mask
    assert mask is not None and mask.shape == (32, 32) and mask.dtype == bool
    batch = data.eval_collate([(s, 0) for s in requests()])
    answers = answer_batch(model, codec, batch, beams=1, max_new=16)
    for sample, answer in zip(requests(), answers, strict=True):
        if sample.task == "retrieval":
            texts = embed_texts(model, codec, model.names.index("retrieval"), sample.responses)
            np.testing.assert_allclose(answer.text_embeddings, texts.numpy(), atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(answer.text_embeddings, axis=1), 1.0, atol=1e-5)
    assert metrics["vqa/overall"] == 100.0
