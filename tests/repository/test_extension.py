"""An expert, an encoder, a data set and a metric of one's own: one py and one yaml each, outside of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILES = {
    "toy/__init__.py": "",
    "toy/expert.py": '''
import torch
from torch import nn
from rsmoe.experts.expert import Expert


class ToyExpert(Expert):
    """Reads one number, the brightness of the image, from the state that emits [TOY]."""

    token = "[TOY]"
    terms = {"toy": 1.0}

    def __init__(self, *, hidden_width, scale=1.0, **options):
        super().__init__(hidden_width=hidden_width, **options)
        self.scale, self.read = scale, nn.Linear(hidden_width, 1)

    def head(self, inputs):
        return self.read(inputs.hidden)[:, 0] * self.scale

    def losses(self, inputs, batch):
        bright = batch.pixels[batch.view[inputs.sample]].mean((1, 2, 3, 4))
        return {"toy": (self.head(inputs) - bright).square().mean()}
''',
    "toy/encoder.py": '''
from torch import nn
from rsmoe.vision import VisionFeatures


class ToyEncoder(nn.Module):
    """Patches of 16 px through one linear map."""

    def __init__(self, *, bands=3, width=16):
        super().__init__()
        self.bands, self.width, self.pyramid_widths = bands, width, (width,)
        self.patches = nn.Conv2d(bands, width, 16, stride=16)

    def forward(self, pixels):
        grid = self.patches(pixels)
        return VisionFeatures(tokens=grid.flatten(2).transpose(1, 2), pyramid=(grid,))
''',
    "toy/dataset.py": '''
import numpy as np
from rsmoe.data import Sample


class ToyDataset:
    protocol = ""

    def __init__(self, *, root=None, split, name="toy", size=8):
        self.name, self.split, self.size = name, split, size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        task, answer = (("caption", "[TOY]") if i % 2 else ("vqa", "yes"))
        image = np.full((32, 32, 3), 20 * i, dtype=np.uint8)
        return Sample(id=f"{self.split}-{i}", images=(image,), instruction=f"what is this {task} ?",
                      responses=(answer,), task=task, source=self.name)
''',
    "toy/metric.py": '''
import torch
from torchmetrics import Metric


class Length(Metric):
    """Mean number of words of an answer."""

    tasks = ("caption", "vqa")
    protocol = "toy/length@1"

    def __init__(self):
        super().__init__()
        self.add_state("words", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("n", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions, samples):
        assert [p.id for p in predictions] == [s.id for s in samples]
        self.words += sum(len(p.text.split()) for p in predictions)
        self.n += len(predictions)

    def compute(self):
        return {"words": self.words / self.n}
''',
    "conf/expert/toy.yaml": "# @package expert.toy\n_target_: toy.expert.ToyExpert\nname: toy\ntasks: [caption]\n",
    "conf/vision/toy.yaml": "_target_: toy.encoder.ToyEncoder\nwidth: 24\n",
    "conf/data/toy.yaml": "_target_: toy.dataset.ToyDataset\nroot: null\nname: toy\n",
    "conf/metric/toy.yaml": "# @package evaluation.metrics.length\n_target_: toy.metric.Length\n",
}  # fmt: skip
COMMAND = (
    "expert=[theme,vqa,toy] vision=toy temporal=passthrough +metric=toy corpus=scenes ~corpus.described ~corpus.asked "
    "~corpus.questions +data@corpus.toy.reader=toy +corpus.toy.splits={train:train,test:test} name=toy image_size=32 "
    "stage.dense.steps=30 stage.experts.steps=2 stage.dense.batch_size=8 "
    "stage.experts.batch_size=4 stage.dense.lr=1e-2 stage.dense.warmup=0 evaluation.max_new=4 "
    "evaluation.beams=1 "
    "lm.config.hidden_size=24 lm.config.intermediate_size=32 qformer.width=16 qformer.layers=1"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("extension")
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def train(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(folder)])
    env = {k: v for k, v in os.environ.items() if k != "RSMOE_DATA"} | {"PYTHONPATH": path, "RSMOE_TRUST": "toy"}
    command = [sys.executable, "-m", "rsmoe.train", *words, *COMMAND.split(), "hydra.run.dir=run"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def test_an_expert_an_encoder_a_data_set_and_a_metric_of_your_own(folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for top in ("rsmoe", "conf") for p in (ROOT / top).rglob("*.yaml")}
    done = train(folder, "--config-dir", "conf")
    assert done.returncode == 0, done.stderr
    run = folder / "run"
    results = {r["metric"]: r for r in json.loads((run / "metrics.json").read_text())["results"]}
    assert results["length/words"]["protocol"] == "toy/length@1"
    assert results["length/words"]["n"] == 8
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    words = sum(len(line["text"].split()) for line in lines) / 8
    assert abs(results["length/words"]["value"] - words) < 1e-6
    assert all(set(line["routing"]) == {"theme", "vqa", "toy"} for line in lines)
    # the head was trained although no stage names its loss, and its output is in the file
    captions = [line for line in lines if line["task"] == "caption"]
    assert all(line["outputs"].keys() == {"toy"} and isinstance(line["outputs"]["toy"], float) for line in captions)
    assert not any("outputs" in line for line in lines if line["task"] == "vqa")
    import torch

    saved = torch.load(run / "checkpoints" / "2-experts.ckpt", weights_only=True)
    state = saved["state_dict"]
    assert state["model.vision.patches.weight"].shape == (24, 3, 16, 16)
    earlier = torch.load(run / "checkpoints" / "1-dense.ckpt", weights_only=True)["state_dict"]
    assert not torch.equal(state["model.experts.2.read.weight"], earlier["model.experts.2.read.weight"])
    assert before == {p: p.stat().st_mtime_ns for top in ("rsmoe", "conf") for p in (ROOT / top).rglob("*.yaml")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-dir=conf", "experiment=toyy"], "error: unknown experiment 'toyy'"),
        ([], "error: unknown expert 'toy'"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, folder: Path) -> None:
    done = train(folder, *words)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr
