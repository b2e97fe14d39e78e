"""Which losses count in a stage, and that a setting without effect is an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.composed import plain
from support.models import tiny_model
from support.runs import DENSE, EXPERTS

from rsmoe.cli.check import checked
from rsmoe.config import compose
from rsmoe.errors import UserError
from rsmoe.settings.stage import Stage, stages_of
from rsmoe.training.stage_checks import fitted, learning_rates, trainable

MAPS = (
    "maps=[land_cover,change]", "maps.change.channels=8", "maps.land_cover.classes=[ground,ship]",
    "maps.land_cover.channels=8",
)  # fmt: skip
HEADS = {"mask_bce": 2.0, "mask_dice": 0.5, "retrieval": 1.0}
CHANGE, COVER = {"change": 4.0, "change_dice": 1.0}, {"land_cover": 1.0, "land_cover_dice": 1.0}
ROUTING = {"label": 0.5, "balance": 0.01, "z": 0.001}
WITHOUT_MAPS = "expert=[theme,vqa]"


def stage(**values: Any) -> Stage:
    return Stage(**{"name": "x", "steps": 1, **values})


@pytest.mark.parametrize(
    ("given", "losses"),
    [
        ({"train": ["vision", "maps"], "losses": {"change": 2.0}}, CHANGE | COVER | {"change": 2.0}),
        ({"single_expert": True, "train": ["*", "-router"]}, {"text": 1.0} | CHANGE | COVER | HEADS),
        ({"train": ["router", "*lora_*"], "losses": {"text": 1.0} | ROUTING}, {"text": 1.0} | ROUTING | HEADS),
        ({"losses": {"text": 1.0, "land_cover": 2.0, "mask_bce": 0.0}, "train": ["*", "-maps.change"]},
         {"text": 1.0, "retrieval": 1.0, "mask_dice": 0.5, "land_cover": 2.0, "land_cover_dice": 1.0}),
    ],
    ids=["perception", "dense", "experts", "changed"],
)  # fmt: skip
def test_parts_bring_their_losses_where_they_are_taught(given: dict[str, Any], losses: dict[str, float]) -> None:
    assert fitted(tiny_model(*MAPS), stage(**given)).losses == losses


def test_the_dense_twin_has_no_router_to_teach() -> None:
    twin = fitted(tiny_model("moe.adapters=1"), EXPERTS)
    assert twin.losses == {"text": 1.0} | HEADS and not twin.losses_until


@pytest.mark.parametrize(
    ("overrides", "given", "message"),
    [
        ((), {"losses": {"text": 1.0, "land_cover": 2.0}},
         r"losses\.land_cover=2\.0.*'~stage\.x\.losses\.land_cover'"),
        ((), {"single_expert": True, "losses": {"text": 1.0, "label": 0.5}}, r"stage\.x\.losses\.label"),
        ((), {"losses_until": {"label": 5}}, r"stage\.x\.losses_until\.label=5"),
        ((), {"losses_until": {"lable": 5}, "losses": {"text": 1.0, "label": 1.0}}, "Did you mean 'label'"),
        ((), {"lr_groups": {"visoin": 1e-4}}, "'visoin' matches no parameter"),
        ((), {"lr_groups": {"vision": 1e-4}, "train": ["*", "-vision"]}, "nothing that 'vision' names trains"),
        ((), {"teacher_forcing": [0.8, 0.0]}, r"teacher_forcing=\[0\.8, 0\.0\] has no effect.*=\[0\.0,0\.0\]"),
        ((), {"single_expert": True, "teach_routing_steps": 3}, r"stage\.x\.teach_routing_steps=3 has no effect"),
        (MAPS, {"smoothing": 0.1, "losses": {}}, r"stage\.x\.smoothing=0\.1 has no effect"),
        ((), {"losses": {}, "train": ["vision"]}, "has no loss that this model knows"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_an_error(overrides: tuple[str, ...], given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(tiny_model(*overrides), stage(**given))


def test_maps_alone_can_be_taught() -> None:
    """A stage of perception that names no loss has those of its maps."""
    assert fitted(tiny_model(*MAPS), stage(train=["vision", "maps"], losses={})).losses == CHANGE | COVER


def test_rates_and_training_speak_one_language() -> None:
    model = tiny_model()
    for pattern in ("vision", "vision.*", "*lora_*", "bank.lm.model.layers[-1:]"):
        stage = fitted(model, replace(DENSE, losses={"text": 1.0}, train=[pattern], lr_groups={pattern: 1e-4}))
        rates = learning_rates(model, stage)
        assert set(rates) == set(trainable(model, stage)) and set(rates.values()) == {1e-4}, pattern


def test_stages_keep_the_order_in_which_they_are_chosen() -> None:
    chosen = stages_of(plain(compose(["stage=[experts,perception,dense]"])))
    assert [s.name for s in chosen] == ["experts", "perception", "dense"]


def test_a_stage_that_is_not_chosen_leaves_nothing(tmp_path: Path) -> None:
    config = plain(compose(["experiment=unified_moe", "schedule=single_stage"]))
    (joint,) = stages_of(config)
    assert list(config["stage"]) == ["joint"] and (joint.batch_size, joint.requests_per_view) == (32, 4)
    assert joint.mix == config["mix"] != {}
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nstage: {dens: {steps: 3}}\n")
    with pytest.raises(UserError, match="unknown stage 'dens'. Did you mean 'dense'"):
        compose(["experiment=mine"], extra=str(tmp_path))


def test_a_mix_of_one_stage_takes_the_place_of_that_of_the_run(tmp_path: Path) -> None:
    dense, experts = stages_of(plain(compose(["mix={captions:1}", "stage.dense.mix={questions:2}"])))
    assert experts.mix == {"captions": 1} and dense.mix == {"questions": 2}
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nmix: {captions: 1, questions: 1}\nstage: {dense: {mix: {questions: 2}}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    dense, experts = stages_of(plain(compose(["experiment=mine"], extra=str(tmp_path))))
    assert experts.mix == {"captions": 1, "questions": 1} and dense.mix == {
        "questions": 2
    }  # nothing of the run's is left


def test_real_data_need_no_further_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    made = compose(["experiment=rsicap_moe"])
    assert (made.world, made.loader.collate.jitter) == ("generated", 0.0)
    assert stages_of(plain(made))[1].teacher_forcing == [0.8, 0.0]
    assert made.maps.land_cover["_target_"] and made.noun_grounding
    (tmp_path / "rsieval").mkdir()
    for words in (["data.root=/data"], ["world=real"], []):
        if not words:
            monkeypatch.setenv("RSMOE_DATA", str(tmp_path))
        real = compose(["experiment=rsicap_moe", *words])
        assert (real.world, real.loader.collate.jitter, real.noun_grounding) == ("real", 0.2, False), words
        assert not any("_target_" in node for node in real.maps.values())
        perception, dense, _ = stages_of(plain(real))
        assert perception.steps == 0  # nothing teaches it
        assert dense.teacher_forcing == [0.0, 0.0] and not dense.lr_groups and not dense.freeze_batch_norm, words
    assert compose(["experiment=rsicap_moe", "world=generated"]).world == "generated"
    typed = compose(["experiment=rsicap_moe", "maps=[land_cover]", "loader.collate.jitter=0.1"])
    assert typed.maps.land_cover["_target_"] and typed.loader.collate.jitter == 0.1  # what is typed wins
    with pytest.raises(UserError, match="world=generated: captions, questions of the corpus cannot be generated"):
        compose(["experiment=ucm_moe", "world=generated"])


@pytest.mark.parametrize(
    "words", [["experiment=change_temporal"], ["experiment=changechat_moe", "maps=[]", "stage=[dense,experts]"]]
)
def test_without_maps_nothing_is_left_of_them(words: list[str]) -> None:
    config = plain(compose(words))
    assert config["maps"] == {}
    assert all(not any(stage.teacher_forcing) for stage in stages_of(config))


def test_perception_without_maps_is_refused_before_the_work_starts() -> None:
    message = r"stage 'perception' has no loss: .*maps=\[\].*stage=\[dense,experts\]"
    with pytest.raises(UserError, match=message):
        checked("train", ["experiment=changechat_moe", "maps=[]"])
    checked("train", ["experiment=changechat_moe", "maps=[]", "stage=[dense,experts]"])


def test_what_is_typed_of_a_map_that_is_not_chosen_is_refused() -> None:
    with pytest.raises(UserError, match=r"maps\.change\.kinds=2: the choice of this run is maps=\[\]\. .*\[change\]"):
        compose(["experiment=changechat_moe", "maps=[]", "maps.change.kinds=2"])
    typed = ["experiment=changechat_moe", "maps=[]", "stage.dense.teacher_forcing=[0.5,0]"]
    assert stages_of(plain(compose(typed)))[1].teacher_forcing == [0.5, 0.0]  # the model refuses it
