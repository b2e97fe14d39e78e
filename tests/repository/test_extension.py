"""An expert, an encoder, a data set, a task and a metric of one's own: a py and a yaml each, outside of the tree."""

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
        task, answer = (("toy", ("a bright field [TOY]", "a dark field [TOY]")[i % 4 > 2]) if i % 2 else ("vqa", "yes"))
        image = np.full((32, 32, 3), 20 * i, dtype=np.uint8)
        return Sample(id=f"{self.split}-{i}", images=(image,), instruction=f"what is this {task} ?",
                      responses=(answer,), task=task, source=self.name, meta={"brightness": 20 * i / 255})
''',
    "toy/metric.py": '''
import numpy as np
from rsmoe.metrics import Metric, Protocol, Tally


class Length(Metric):
    """Mean number of words of an answer."""

    protocol = Protocol(
        id="toy/length@1", title="Words", sentence="Mean number of words.", tasks=("caption", "vqa", "toy")
    )
    unscaled = frozenset(("words",))

    def tally(self, pairs):
        rows = np.array([[1.0, len(p.text.split())] for _, p in pairs])
        return Tally(rows=rows, finish=lambda sums: {"words": sums[..., 1] / sums[..., 0], "n": sums[..., 0]})


class Brightness(Metric):
    """Mean absolute error of what the head says; 1 without an answer."""

    protocol = Protocol(
        id="toy/brightness@1", title="Brightness", sentence="Mean absolute error.", tasks=("toy",), fields=("toy",)
    )
    unscaled = lower_is_better = frozenset(("mae",))

    def tally(self, pairs):
        said = [p.outputs.get("toy") for _, p in pairs]
        errors = [1.0 if x is None else abs(float(x) - s.meta["brightness"]) for (s, _), x in zip(pairs, said)]
        rows = np.array([[1.0, e, x is None] for e, x in zip(errors, said)], dtype=float)
        return Tally(
            rows=rows,
            finish=lambda s: {"mae": s[..., 1] / s[..., 0], "n": s[..., 0], "parse_failures": s[..., 2]},
        )
''',
    "toy/baseline.py": '''
import numpy as np
from rsmoe.evaluation.constant_answers import ConstantAnswer


class MeanBrightness(ConstantAnswer):
    fields = ("text", "toy")

    def best(self, train):
        return float(np.mean([s.meta["brightness"] for s in train]))

    def true(self, sample):
        return sample.meta["brightness"]

    def as_fields(self, answer, test):
        return {"text": "a field", "outputs": {} if answer is None else {"toy": np.float64(answer)}}
''',
    "conf/expert/toy.yaml": "# @package expert.toy\n_target_: toy.expert.ToyExpert\nname: toy\ntasks: [toy]\n",
    "conf/vision/toy.yaml": "_target_: toy.encoder.ToyEncoder\nwidth: 24\n",
    "conf/data/toy.yaml": "_target_: toy.dataset.ToyDataset\nroot: null\nname: toy\n",
    "conf/metric/toy.yaml": "# @package evaluation.metrics.length\n_target_: toy.metric.Length\n",
    "conf/metric/toy_brightness.yaml": "_target_: toy.metric.Brightness\n",
    "conf/task/toy.yaml": (
        "protocol: toy/brightness@1\nanswer: toy\ncroppable: true\nbaseline: {_target_: toy.baseline.MeanBrightness}\n"
    ),
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
    assert all(results["length/words"][key] is not None for key in ("low", "high"))
    error = results["toy/mae"]  # of the task, under its default protocol, with its interval and its baselines
    assert (error["protocol"], error["n"], error["lower_is_better"]) == ("toy/brightness@1", 4, True)
    assert error["low"] <= error["value"] <= error["high"]
    baselines = json.loads((run / "metrics.json").read_text())["baselines"]
    beside = {name: {r["metric"]: r["value"] for r in rows} for name, rows in baselines.items()}
    assert set(beside) == {"majority", "text-only", "nearest neighbour"}
    mean = sum(20 * i / 255 for i in (1, 3, 5, 7)) / 4
    expected = sum(abs(20 * i / 255 - mean) for i in (1, 3, 5, 7)) / 4
    assert abs(beside["majority"]["toy/mae"] - expected) < 1e-6 and beside["majority"]["length/words"] == 1.5
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


def test_files_of_answers_are_scored_under_a_protocol_of_your_own(folder: Path) -> None:
    truth = [{"id": str(i), "answer": "yes", "brightness": i / 10} for i in range(4)]
    (folder / "truth.json").write_text(json.dumps(truth))
    answers = [{"id": str(i), "text": "yes it is", "outputs": {"toy": i / 10 + 0.1}} for i in range(3)]
    (folder / "answers.json").write_text(json.dumps(answers))
    path = os.pathsep.join([str(ROOT), str(folder)])
    env = os.environ | {"PYTHONPATH": path, "RSMOE_TRUST": "toy"}
    files = ("predictions=answers.json", "references=truth.json", "json=true")

    def score(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rsmoe.score", *words, *files]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)

    done = score("--config-dir=conf", "+metric=toy", "protocol=toy/brightness@1")
    assert done.returncode == 0, done.stderr
    found = {row["metric"]: row for row in json.loads(done.stdout)["results"]}
    assert abs(found["toy/mae"]["value"] - (3 * 0.1 + 1) / 4) < 1e-9 and found["toy/mae"]["parse_failures"] == 1
    assert found["length/words"]["value"] == 9 / 4 and found["length/words"]["low"] < found["length/words"]["high"]
    assert "1 of 4 references have no prediction (3)" in done.stderr
    alone = score("--config-dir=conf", "+metric=toy", "protocol=toy/length@1")
    assert [row["metric"] for row in json.loads(alone.stdout)["results"]] == ["caption/words"], alone.stderr
    unknown = score("protocol=toy/brightness@1")
    assert unknown.returncode == 1 and "unknown protocol 'toy/brightness@1'" in unknown.stderr
