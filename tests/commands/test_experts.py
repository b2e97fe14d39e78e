"""Experts taken apart: routes that are forced and barred, tables by hand, and the command on a run."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.banks import make
from support.checkpoints import CALM, tiny_run
from support.models import codecs, collate, requests, tiny_model

from rsmoe.commands.experts import cli, to_csv
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch
from rsmoe.metrics.prediction import Prediction
from rsmoe.router.routing import RULED_OUT, Routing
from rsmoe.studies.expert_answers import ExpertAnswers
from rsmoe.studies.expert_tables import TOGETHER, ExpertTables, Measure, similarity

SCORES = {"caption": "cider_d", "vqa": "overall"}


def test_only_these_experts_keep_their_shares() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, RULED_OUT], [0.0, 3.0, 1.0, RULED_OUT]])
    routing = Routing.of(logits, torch.tensor([[True, True, True, False], [False, True, False, False]]))
    rest = routing.only(torch.tensor([True, False, True, True]))
    assert rest.weights[0].tolist() == pytest.approx([0.8808, 0, 0.1192, 0], abs=1e-4)  # 1 : e ** -2
    assert rest.weights[1].tolist() == [0, 0, 1, 0]  # it had the barred one alone: the most probable of the others
    assert rest.chosen.tolist() == [[True, False, True, False], [False, False, True, False]]
    assert not rest.logits.isinf().any() and rest.logits.softmax(-1)[:, 1].tolist() == [0, 0]
    forced = routing.only(torch.tensor([False, False, False, True]))
    assert forced.weights.tolist() == [[0, 0, 0, 1]] * 2


def test_equal_logits_never_choose_a_barred_expert() -> None:
    """A control that learns nothing gives all experts that it did not choose one logit."""
    routing = Routing.of(torch.tensor([[0.0, RULED_OUT, RULED_OUT]]), torch.tensor([[True, False, False]]))
    assert routing.only(torch.tensor([False, False, True])).weights.tolist() == [[0, 0, 1]]


def test_alone_is_the_expert_and_without_is_the_rest() -> None:
    model, (codec, _) = tiny_model(), codecs()
    asked = [s for s in requests() if s.task in ("caption", "vqa")]
    answers = ExpertAnswers.of(model, codec, collate(inference=True), asked, batch_size=4, max_new=6)
    assert [s.task for s in answers.samples] == ["caption"] * 2 + ["vqa"] * 2
    assert list(answers.alone) == list(model.names) == list(answers.without)
    for name in ("theme", "vqa"):
        weights = [dict(zip(p.experts, p.weights, strict=True)) for p in answers.alone[name]]
        assert all(w[name] == 1 for w in weights)
        assert all(dict(zip(p.experts, p.weights, strict=True))[name] == 0 for p in answers.without[name])
    assert len({tuple(p.text for p in answers.alone[name]) for name in answers.alone}) > 1
    batch = collate(inference=True)([(s, 0) for s in answers.samples])
    assert [p.text for p in answers.routed] == [p.text for p in answer_batch(model, codec, batch, beams=1, max_new=6)]
    for task, load in answers.load.items():
        own = [p.weights for p, s in zip(answers.routed, answers.samples, strict=True) if s.task == task]
        np.testing.assert_allclose(load, np.mean(own, axis=0), rtol=1e-5)


def test_with_a_gate_for_each_token_the_load_is_told_by_layer() -> None:
    model, (codec, _) = tiny_model("moe=token", "router=uniform"), codecs()
    with torch.no_grad():
        for gate in model.bank.lora_gates.values():
            gate.normal_()
    asked = [s for s in requests() if s.task in ("caption", "vqa")]
    load = ExpertAnswers.of(model, codec, collate(inference=True), asked, max_new=4).load
    gates = [f"{task}, {name}" for task in ("caption", "vqa") for name in model.bank.lora_gates]
    assert sorted(load) == sorted(["caption", "vqa", *gates])
    for label, share in load.items():
        assert share.sum() == pytest.approx(1, abs=1e-5), label
    batch = collate(inference=True)([(s, 0) for s in asked if s.task == "vqa"])
    with torch.no_grad():
        routing = model.read(batch).gates
    for name in model.bank.lora_gates:
        np.testing.assert_allclose(load[f"vqa, {name}"], routing[name].weights.mean(0), atol=1e-5)
    assert np.abs(load["vqa"] - load[gates[-1]]).max() > 0.01  # requests are routed evenly, tokens are not


def test_a_dense_model_is_refused() -> None:
    model = tiny_model("moe=none", "router=uniform", experts="expert=[theme,vqa,change]")
    with pytest.raises(UserError, match="one expert"):
        ExpertAnswers.of(model, codecs()[0], collate(inference=True), requests()[:1])


def by_hand() -> ExpertAnswers:
    """ "a" knows the even questions, "b" the odd ones, and the mixture those of "a" alone."""
    image = np.zeros((8, 8, 3), np.uint8)
    samples = [
        Sample(id=str(i), images=(image,), instruction="?", responses=("yes",), task="vqa", kind="count", source="s")
        for i in range(40)
    ]

    def says(right: Sequence[bool]) -> list[Prediction]:
        return [Prediction(id=str(i), task="vqa", text="yes" if r else "no") for i, r in enumerate(right)]

    even = [i % 2 == 0 for i in range(40)]
    odd, none = [not e for e in even], [False] * 40
    return ExpertAnswers(
        samples=samples, routed=says(even), alone={"a": says(even), "b": says(odd)},
        without={"a": says(none), "b": says(even)}, load={"vqa": np.array([0.9, 0.1])},
    )  # fmt: skip


def test_tables_by_hand() -> None:
    answers = by_hand()
    study = ExpertTables(answers, measures=Measure.all_of(answers.samples, scores={"vqa": "overall"}), draws=200)
    alone, without, regret, load = study.alone(), study.without(), study.regret(), study.load(["a", "b"])
    assert {row: alone.cells[row, "vqa/overall"].value for row in alone.rows()} == {"a": 50, "b": 50, TOGETHER: 50}
    assert alone.cells["a", "vqa/overall"].low < 50 < alone.cells["a", "vqa/overall"].high
    lost = without.cells["a", "vqa/overall"]
    assert lost.value == -50 and lost.low < -50 < lost.high < 0
    assert without.cells["b", "vqa/overall"].value == without.cells["b", "vqa/overall"].low == 0
    assert without.says == "Missed, beyond the 95 % interval: a (vqa/overall -50.0)."
    assert regret.cells["vqa/overall", "best expert"].value == 0
    assert regret.cells["vqa/overall", "best of each sample"].value == 50  # b knows what the mixture does not
    assert load.cells["vqa", "b"].value == 0.1 and load.says == "With 15 % or more of the weight. vqa: a."
    lines = list(csv.DictReader(to_csv([alone, load]).splitlines()))
    assert lines[0]["table"] == "alone" and float(lines[0]["value"]) == 50 and lines[-1]["low"] == ""


def test_a_score_is_asked_for_before_the_work() -> None:
    samples = by_hand().samples
    with pytest.raises(UserError, match="task in scores 'vqa'"):
        Measure.all_of(samples, scores={"caption": "cider_d"})
    with pytest.raises(UserError, match="overal"):
        Measure.all_of(samples, scores={"vqa": "overal"})


def test_cosines_of_updates_are_those_of_the_matrices() -> None:
    bank = make()
    names = [str(i) for i in range(bank.size)]
    table = similarity(bank, names)
    assert table is not None
    updates = [
        torch.cat([(layer.lora_B[e] @ layer.lora_A[e]).detach().flatten() for layer in bank.adapted().values()])
        for e in range(bank.size)
    ]
    for (e, f), cell in table.cells.items():
        expected = torch.cosine_similarity(updates[int(e)], updates[int(f)], dim=0)
        assert cell.value == pytest.approx(float(expected), abs=1e-4)
    bank.upcycle(1)
    same = similarity(bank, names)
    assert same is not None and all(cell.value == pytest.approx(1) for cell in same.cells.values())
    assert similarity(tiny_model("bank=separate").bank, names) is None


def test_the_command_writes_a_table_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tiny_run(tmp_path / "run", *CALM), tmp_path / "out"
    words = [f"checkpoint={run}", "benchmark=scenes", "benchmark.scenes.reader.size=10", f"out={out}", "max_new=4"]
    monkeypatch.setattr(sys, "argv", ["experts", *words, "draws=20"])
    cli()
    assert "Cosine of the experts' updates" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "experts.csv").read_text().splitlines()))
    assert {row["table"] for row in rows} == {"alone", "without", "regret", "load", "similarity"}
    with Image.open(out / "experts.png") as page:
        assert page.width == 1440
