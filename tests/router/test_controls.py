"""Every router: what it may read, what it learns, and that it survives a checkpoint; the controls by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.models import batch_of, codecs, padded, tiny_config, tiny_model

from rsmoe.config import conf_dir
from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.evaluation.control_router import with_control
from rsmoe.model import RSMoE
from rsmoe.router.clusters import ClusterRouter
from rsmoe.router.oracle import OracleRouter
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import Routing
from rsmoe.settings.stage import Stage
from rsmoe.training.stage_checks import fitted, trainable

ROUTERS = sorted(path.stem for path in (conf_dir() / "router").glob("*.yaml"))
LEARNED = ("clusters", "image_only", "instruction", "instruction_only")
FIXED = ("hash", "oracle", "uniform")


def model_with(router: str, *words: str, seed: int = 0) -> RSMoE:
    model = tiny_model(f"router={router}", *words, seed=seed)
    if isinstance(model.router, ClusterRouter):
        torch.nn.init.normal_(model.router.table.weight)
        model.router.fit(batch_of().instruction_ids, batch_of().instruction_mask)
    return model


def routing_of(model: RSMoE, batch: Batch) -> Routing:
    with torch.no_grad():
        return model.perceive(batch).routing


def test_no_router_is_left_out() -> None:
    assert set(ROUTERS) == {*LEARNED, *FIXED, "frozen"}


@pytest.mark.parametrize("router", ROUTERS)
def test_weights_sum_to_one_and_do_not_hang_on_padding(router: str) -> None:
    model, batch = model_with(router), batch_of()
    routing = routing_of(model, batch)
    torch.testing.assert_close(routing.weights.sum(1), torch.ones(len(batch)))
    assert bool(routing.chosen.any(1).all()) and bool(torch.isfinite(routing.logits).all())
    wide = routing_of(model, padded(batch, instruction=3))
    torch.testing.assert_close(wide.weights, routing.weights)


@pytest.mark.parametrize("router", ROUTERS)
def test_no_router_but_the_oracle_sees_the_label(router: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_with(router), batch_of()
    seen: list[RouterRequest] = []
    real = type(model.router).forward
    monkeypatch.setattr(type(model.router), "forward", lambda self, asked: (seen.append(asked), real(self, asked))[1])
    first = routing_of(model, batch)
    other = routing_of(model, replace(batch, task=batch.task.roll(1)))
    told = [asked.right is not None for asked in seen]
    assert told == [router == "oracle"] * 2
    assert torch.equal(first.weights, other.weights) == (router != "oracle")


@pytest.mark.parametrize("router", ROUTERS)
def test_what_is_frozen_gets_no_gradient(router: str) -> None:
    model, batch = model_with(router), batch_of()
    losses = {"text": 1.0, "label": 0.5, "balance": 0.01, "z": 0.001}
    stage = fitted(model, Stage(name="experts", steps=2, train=["router", "*lora_*"], losses=losses))
    trainable(model, stage)
    model.train()
    perception = model.perceive(batch)
    loss = model.fusion.losses(model, batch, model.read(batch, perception))["text"]
    loss.backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert any(name.startswith("router.") for name in got) == (router in LEARNED)
    assert all(name.startswith("router.") or "lora_" in name for name in got)
    routed = {"label", "balance", "z"} & set(stage.losses)
    assert routed == ({"label", "balance", "z"} if router in LEARNED else set())


@pytest.mark.parametrize("router", [r for r in ROUTERS if r not in LEARNED])
def test_no_routes_are_taught_to_a_control(router: str) -> None:
    stage = Stage(name="experts", steps=2, train=["*lora_*"], teach_routing_steps=5)
    assert fitted(model_with(router), stage).teach_routing_steps == 0
    assert fitted(model_with("instruction"), stage).teach_routing_steps == 5


@pytest.mark.parametrize("router", ROUTERS)
def test_a_checkpoint_holds_the_router(router: str) -> None:
    first, batch = model_with(router, "balance=loss_free"), batch_of()
    if router in LEARNED:
        first.router.balance.bias.copy_(torch.linspace(-2, 2, 6))  # type: ignore[union-attr]
    expected = routing_of(first, batch)
    second = tiny_model(f"router={router}", "balance=loss_free", seed=5)
    second.load_state_dict(first.state_dict())
    again = routing_of(second, batch)
    assert torch.equal(again.chosen, expected.chosen)
    torch.testing.assert_close(again.weights, expected.weights)


@pytest.mark.parametrize("router", ["frozen", "image_only", "instruction", "instruction_only"])
def test_permuted_experts_permute_the_routing(router: str) -> None:
    model, batch, order = model_with(router), batch_of(), torch.tensor([3, 0, 5, 1, 4, 2])
    straight = routing_of(model, batch)
    with torch.no_grad():
        for weight in (model.router.gate.weight, model.router.gate.bias):
            weight.copy_(weight[order])
    permuted = routing_of(model, batch)
    assert torch.equal(permuted.chosen, straight.chosen[:, order])
    torch.testing.assert_close(permuted.weights, straight.weights[:, order])


def changed(batch: Batch, *, words: bool) -> Batch:
    """Another instruction for the same pictures, or other pictures for the same instruction."""
    if words:
        ids, mask = batch.instruction_ids.roll(1, 0), batch.instruction_mask.roll(1, 0)
        return replace(batch, instruction_ids=ids, instruction_mask=mask)
    return replace(batch, pixels=batch.pixels.flip(-1) * 0.3 + 0.5)


@pytest.mark.parametrize(
    ("router", "words", "pictures"),
    [
        ("clusters", True, False),
        ("frozen", True, True),
        ("hash", True, False),
        ("image_only", False, True),
        ("instruction", True, True),
        ("instruction_only", True, False),
        ("oracle", False, False),
        ("uniform", False, False),
    ],
)
def test_what_each_router_reads(router: str, words: bool, pictures: bool) -> None:
    model, batch = model_with(router), batch_of()
    given = routing_of(model, batch).logits
    for asked, moves in (("words", words), ("pictures", pictures)):
        other = routing_of(model, changed(batch, words=asked == "words")).logits
        assert torch.allclose(given, other, atol=1e-6) != moves, asked


def test_uniform_gives_all_that_may_be_chosen_the_same() -> None:
    model = tiny_model("router=uniform", experts="expert=[theme,vqa,rewriter]")
    weights = routing_of(model, batch_of("caption", "vqa")).weights
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5, 0.0]).expand(4, -1))


def test_the_oracle_gives_the_experts_of_the_label_the_same() -> None:
    model, batch = model_with("oracle"), batch_of()
    right = model.serves_task[batch.task].float()
    torch.testing.assert_close(routing_of(model, batch).weights, right / right.sum(1, keepdim=True))
    none = tiny_model("router=oracle", experts="expert=[theme,vqa]")
    assert bool(routing_of(none, batch_of("retrieval")).chosen.all())  # nobody serves it: all do
    asked = RouterRequest(
        queries=torch.zeros(1, 1, 1), memory=torch.zeros(1, 1), instruction_ids=torch.zeros(1, 0, dtype=torch.long),
        instruction_mask=torch.zeros(1, 0, dtype=torch.bool), allowed=torch.ones(6, dtype=torch.bool),
    )  # fmt: skip
    assert isinstance(model.router, OracleRouter)
    with pytest.raises(UserError, match="router=oracle needs the label"):
        model.router(asked)


def test_a_hash_spreads_instructions_over_the_experts() -> None:
    model = model_with("hash")
    torch.manual_seed(0)
    ids, lengths = torch.randint(1, 50, (3000, 8)), torch.randint(1, 9, (3000, 1))
    asked = RouterRequest(
        queries=torch.zeros(3000, 1, 1), memory=torch.zeros(3000, 1), instruction_ids=ids,
        instruction_mask=torch.arange(8) < lengths, allowed=torch.tensor([True, True, True, False, True, True]),
    )  # fmt: skip
    load = model.router(asked).weights.mean(0)
    assert load[3] == 0 and float((load[[0, 1, 2, 4, 5]] - 0.2).abs().max()) < 0.03


def test_clusters_are_those_of_the_instructions() -> None:
    torch.manual_seed(0)
    router = tiny_model("router=clusters", "router.clusters=3").router
    assert isinstance(router, ClusterRouter)
    with pytest.raises(UserError, match="router=clusters has no clusters yet"):
        tiny_model("router=clusters").perceive(batch_of())
    words = torch.tensor([[5, 6, 7], [10, 11, 12], [15, 16, 17]])
    ids = words.repeat_interleave(20, 0).gather(1, torch.rand(60, 3).argsort(1))  # the same words in any order
    ids[:, 2] = torch.randint(20, 30, (60,))  # and a third of noise
    router.fit(ids, torch.ones_like(ids, dtype=torch.bool))
    x = router._features(ids, torch.ones_like(ids, dtype=torch.bool))
    near = torch.cdist(x, router.means).argmin(1).view(3, 20)
    shares = [row.bincount(minlength=3).max() / 20 for row in near]
    assert min(shares) > 0.7 and len({int(row.mode().values) for row in near}) == 3
    means = router.means.clone()
    router.fit(ids, torch.ones_like(ids, dtype=torch.bool))
    assert torch.equal(router.means, means)


@pytest.mark.parametrize("router", FIXED)
def test_a_control_takes_the_place_of_a_trained_router(router: str) -> None:
    model, batch = tiny_model(), batch_of()
    trained = routing_of(model, batch)
    config = tiny_config()
    node = tiny_config(f"router={router}")["router"]
    changed_config = with_control(model, config, node, vocab_size=codecs()[1].vocab_size)
    assert changed_config["router"] == node and config["router"] != node
    control = routing_of(model, batch)
    assert not torch.equal(control.weights, trained.weights)
    assert torch.equal(control.weights, routing_of(tiny_model(f"router={router}"), batch).weights)


def test_only_what_needs_no_training_takes_the_place() -> None:
    words = codecs()[1].vocab_size
    for router in ("clusters", "frozen", "instruction", "image_only"):
        node = tiny_config(f"router={router}")["router"]
        with pytest.raises(UserError, match="has weights, which this checkpoint does not hold: expected one"):
            with_control(tiny_model(), tiny_config(), node, vocab_size=words)
    dense, node = tiny_model(), tiny_config("router=uniform")["router"]
    dense.dense = True
    with pytest.raises(UserError, match="router=uniform: this checkpoint has one expert"):
        with_control(dense, tiny_config(), node, vocab_size=words)
