"""The expert bank: equal to PEFT, to the base model, and to separate models; on every family; safe in DDP."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.banks import FAMILIES, LLAMA, LLAMA_TARGETS, PLAIN, L, R, V, base, fill, make, saved
from support.process_group import in_two
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rsmoe.errors import UserError
from rsmoe.experts.bank import ExpertBank
from rsmoe.experts.grouped import gathered, grouped, masked
from rsmoe.experts.language_model import causal_lm
from rsmoe.experts.lora import GroupedLoRA
from rsmoe.experts.rows import RowExperts
from rsmoe.experts.separate import SeparateBank


def inputs(expert: list[int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
    index = torch.tensor([0, 0, 1, 1, 1, 3] if expert is None else expert)
    torch.manual_seed(2)
    return torch.randint(2, V, (len(index), L)), torch.ones(len(index), L, dtype=torch.bool), index


def run(bank: nn.Module, ids: Tensor, mask: Tensor, expert: Tensor) -> Tensor:
    return bank.logits(bank(bank.embed(ids, expert), mask, expert).hidden, expert)


@pytest.mark.parametrize("kernel", [grouped, gathered, masked])
@pytest.mark.parametrize("index", [[0, 0, 1, 1, 1, 3], [2] * 6, [0, 1, 2, 3, 3, 3]])
def test_kernels_agree_with_a_loop(kernel, index) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 5, 12, requires_grad=True)
    a, b = torch.randn(4, 4, 12, requires_grad=True), torch.randn(4, 8, 4, requires_grad=True)
    rows = RowExperts.of(torch.tensor(index), experts=4)
    expected = torch.stack([0.7 * x[i] @ a[e].T @ b[e].T for i, e in enumerate(index)])
    got = kernel(x, a, b, rows, 0.7)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(got.sum(), (x, a, b)), torch.autograd.grad(expected.sum(), (x, a, b)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


SHARE = torch.tensor(
    [[0.6, 0.4, 0, 0], [1, 0, 0, 0], [0.2, 0.5, 0.3, 0], [0, 0.7, 0, 0.3], [0, 0, 1, 0], [0.1, 0.2, 0.3, 0.4]]
)  # in the order of the expert that weighs most


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_sum_of_adapters_is_a_linear_layer_of_summed_updates(family: str) -> None:
    """Each row against a base whose weights hold the sum, with and without a cache; and the gradient of the weights."""
    bank, (ids, mask, _) = make(family), inputs()
    share = SHARE.clone().requires_grad_()
    got = run(bank, ids, mask, share)
    for i, own in enumerate(SHARE):
        merged = copy.deepcopy(bank)
        for layer in merged.adapted().values():
            update = layer.scale * torch.einsum("e,eor,eri->oi", own, layer.lora_B, layer.lora_A)
            weight = layer.base_layer.weight
            weight.data += update if isinstance(layer.base_layer, nn.Linear) else update.T
            layer.lora_B.data.zero_()
        expected = run(merged, ids[i : i + 1], mask[i : i + 1], torch.tensor([0]))
        torch.testing.assert_close(got[i : i + 1], expected, atol=1e-5, rtol=1e-4)
    embeds = bank.embed(ids, share)
    first = bank(embeds[:, :4], mask[:, :4], share, cache="new")
    rest = bank(embeds[:, 4:], mask, share, cache=first.cache)
    torch.testing.assert_close(bank.logits(torch.cat([first.hidden, rest.hidden], 1), share), got, atol=2e-5, rtol=1e-4)
    loss = got.square().sum()
    (gradient,) = torch.autograd.grad(loss, share)
    step = torch.zeros_like(SHARE)
    step[2, 3] = 1e-2
    with torch.no_grad():
        slope = sum(s * float(run(bank, ids, mask, SHARE + s * step).square().sum()) for s in (1, -1)) / 2e-2
    assert abs(slope) > 1e-3 and float(gradient[2, 3]) == pytest.approx(slope, rel=2e-2)


def test_a_sum_of_one_adapter_is_that_adapter() -> None:
    bank, (ids, mask, expert) = make(), inputs()
    share = nn.functional.one_hot(expert, 4).float()
    torch.testing.assert_close(run(bank, ids, mask, share), run(bank, ids, mask, expert), atol=1e-5, rtol=1e-5)


def test_sums_come_in_the_order_of_the_expert_that_weighs_most() -> None:
    with pytest.raises(RuntimeError, match="sorted by existing expert"):
        RowExperts.of(SHARE.flip(0), experts=4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_bank_on_cuda_equals_cpu() -> None:
    bank, (ids, mask, expert) = make(), inputs()
    expected = [run(bank, ids, mask, given) for given in (expert, SHARE)]
    bank = bank.cuda()
    for given, told in zip((expert, SHARE), expected, strict=True):
        got = run(bank, ids.cuda(), mask.cuda(), given.cuda())
        torch.testing.assert_close(got.cpu(), told, atol=1e-3, rtol=1e-3)


def test_rows_must_be_sorted_and_known() -> None:
    for index in ([1, 0], [0, 4], [-1, 0]):
        with pytest.raises(RuntimeError, match="sorted by existing expert"):
            RowExperts.of(torch.tensor(index), experts=4)


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_bank_equals_base_model(family: str) -> None:
    """Same logits as the model's own forward: right decoder, positions and output layer, whatever the family."""
    lm = base(family)
    ids, mask, expert = inputs()
    mask[:2, :3] = False
    reference = lm(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    bank = ExpertBank(lm=lm, experts=4, rank=4, alpha=8, targets=FAMILIES[family][1]).eval()
    got = run(bank, ids, mask, expert)
    assert bank.width == bank.embed(ids, expert).shape[-1] and bank.vocab_size == V == got.shape[-1]
    if family in (
        "ours",
        "llama",
        "qwen3",
        "gpt_neox",
    ):  # rotary positions: the model may count the padding, results are equal
        torch.testing.assert_close(got[mask], reference[mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[2:], reference[2:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padding_and_cache_change_nothing(family: str) -> None:
    bank = make(family)
    ids, mask, expert = inputs()
    whole = run(bank, ids, mask, expert)
    padded_ids = torch.cat([torch.zeros(R, 3, dtype=torch.long), ids], dim=1)
    padded = torch.cat([torch.zeros(R, 3, dtype=torch.bool), mask], dim=1)
    out = run(bank, padded_ids, padded, expert)
    torch.testing.assert_close(out[:, 3:], whole, atol=2e-5, rtol=1e-4)
    assert out.isfinite().all()
    embeds = bank.embed(padded_ids, expert)
    first = bank(embeds[:, :6], padded[:, :6], expert, cache="new")
    steps, cache = [first.hidden[:, 3:]], first.cache
    for t in range(6, L + 3):
        step = bank(embeds[:, t : t + 1], padded[:, : t + 1], expert, cache=cache)
        steps, cache = [*steps, step.hidden], step.cache
    torch.testing.assert_close(bank.logits(torch.cat(steps, 1), expert), whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["ours", "llama", "gpt2", "opt"])
def test_each_expert_equals_peft(family: str, tmp_path: Path) -> None:
    """Saved adapters, each loaded alone by PEFT: equal logits, and equal gradients of A and B."""
    from peft import PeftModel

    bank = make(family)
    ids, mask, expert = inputs()
    got = run(bank, ids, mask, expert)
    torch.manual_seed(3)
    direction = torch.randn_like(got)
    (got * direction).sum().backward()
    for e in range(bank.size):
        bank.save_adapter(e, tmp_path / str(e))
        mine = expert == e
        alone = PeftModel.from_pretrained(
            base("llama" if family == "ours" else family), tmp_path / str(e), is_trainable=True
        ).eval()
        if not mine.any():
            for layer in bank.adapted().values():  # idle: a zero gradient, not None
                assert not layer.lora_A.grad[e].any() and not layer.lora_B.grad[e].any()
            continue
        reference = alone(input_ids=ids[mine], attention_mask=mask[mine].long(), use_cache=False).logits
        torch.testing.assert_close(got[mine], reference, atol=1e-5, rtol=1e-5)
        (reference * direction[mine]).sum().backward()
        theirs = {n: p.grad for n, p in alone.named_parameters() if p.requires_grad}
        assert len(theirs) == 2 * len(bank.adapted())
        for name, layer in bank.adapted().items():
            for part, stacked in (("A", layer.lora_A), ("B", layer.lora_B)):
                reference = theirs[f"base_model.model.{name}.lora_{part}.default.weight"]
                torch.testing.assert_close(stacked.grad[e], reference, atol=1e-5, rtol=1e-4)


def test_adapter_trained_by_peft_loads(tmp_path: Path) -> None:
    """Another rank, another alpha, fewer layers, rank-stabilised: still the same logits."""
    from peft import LoraConfig, get_peft_model

    theirs = get_peft_model(
        base(),
        LoraConfig(r=2, lora_alpha=5, target_modules=["q_proj", "v_proj"], use_rslora=True, task_type="CAUSAL_LM"),
    )
    fill(theirs).save_pretrained(tmp_path)
    bank = make()
    ids, mask, _ = inputs()
    others = run(bank, ids, mask, torch.ones(R, dtype=torch.long))
    bank.load_adapter(2, tmp_path)
    got = run(bank, ids, mask, torch.full((R,), 2))
    torch.testing.assert_close(got, theirs.eval()(input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        run(bank, ids, mask, torch.ones(R, dtype=torch.long)), others
    )  # the others are untouched


ADAPTERS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, ""),
    "rank-stabilised": ({"use_rslora": True}, ""),
    "alpha of a fraction": ({"lora_alpha": 2.5}, ""),
    "no alpha": ({"lora_alpha": 0}, ""),
    "gaussian": ({"init_lora_weights": "gaussian"}, ""),
    "orthogonal": ({"init_lora_weights": "orthogonal"}, ""),
    "random": ({"init_lora_weights": False}, ""),
    "one layer": ({"layers_to_transform": [1]}, ""),
    "one layer, by pattern": ({"layers_to_transform": 1, "layers_pattern": "layers"}, ""),
    "but one": ({"exclude_modules": ["v_proj"]}, ""),
    "by pattern": ({"target_modules": r".*\.(q|v)_proj"}, ""),
    "fan in": ({"fan_in_fan_out": True}, ""),
    "dropout": ({"lora_dropout": 0.3}, ""),
    "dora": ({"use_dora": True}, "use_dora=True"),
    "bias": ({"bias": "all"}, "bias='all'"),
    "bias of lora": ({"bias": "lora_only"}, "bias='lora_only'"),
    "b with bias": ({"lora_bias": True}, "lora_bias=True"),
    "head": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "tokens": ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
    "ranks": ({"rank_pattern": {"q_proj": 3}}, "rank_pattern"),
    "alphas": ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
    "pissa, quick": ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4'"),
    "olora": ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
    "parameters": ({"target_parameters": ["q_proj.weight"], "target_modules": []}, "target_parameters"),
    "replicated": ({"layer_replication": [(0, 1), (0, 2)]}, "layer_replication"),
    "activated": ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_loads_as_peft_has_it_or_is_refused_by_what_it_says(kind: str, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    options, refused = ADAPTERS[kind]
    fill(get_peft_model(base(), LoraConfig(**(PLAIN | options)))).save_pretrained(tmp_path)
    bank = make()
    before = copy.deepcopy(bank.state_dict())
    if refused:
        with pytest.raises(UserError, match=refused):
            bank.load_adapter(2, tmp_path)
        assert all(torch.equal(before[name], value) for name, value in bank.state_dict().items())
        return
    bank.load_adapter(2, tmp_path)
    ids, mask, _ = inputs()
    theirs = PeftModel.from_pretrained(base(), tmp_path).eval()(input_ids=ids).logits
    torch.testing.assert_close(run(bank, ids, mask, torch.full((R,), 2)), theirs, atol=1e-5, rtol=1e-5)


KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "ADALORA"}, "'ADALORA' adapter; the bank reads LoRA only"),
        ({"peft_type": None}, "None adapter"),
        ({"peft_type": ["LORA"]}, "LoRA only"),
        ({"task_type": "SEQ_CLS"}, "task_type='SEQ_CLS': expected 'CAUSAL_LM'"),
        ({"r": "2"}, "r='2': expected a whole number"),
        ({"r": 2.0}, "r=2.0: expected a whole number"),
        ({"r": True}, "r=True: expected a whole number"),
        ({"r": 0}, "r=0: expected 1 or more"),
        ({"r": -1}, "r=-1: expected 1 or more"),
        ({"r": 3}, "has shapes"),
        ({"lora_alpha": "x"}, "lora_alpha='x': expected a number"),
        ({"lora_alpha": float("nan")}, "lora_alpha=nan: expected a finite number"),
        ({"lora_alpha": None}, "lora_alpha=None: expected a number"),
        ({"use_rslora": 1}, "use_rslora=1: expected true or false"),
        ({"target_modules": 5}, "target_modules=5: expected a list or text"),
        ({"target_modules": [1]}, "target_modules.0=1: expected text"),
        ({"target_modules": ["q_proj", "v_proj", "up_proj"]}, "no weights for 2 of the layers.*up_proj"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights='loftq'"),
        ({"init_lora_weights": 3}, "init_lora_weights=3"),
        ({"use_qalora": True}, "use_qalora=True"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"of_the_future": True}, "of_the_future=True, which the bank does not compute"),
        ({"eva_config": {"rho": 2.0}}, "eva_config"),
        (b"[]", "it holds a list"),
        (b"[" * 100_000, "is not an adapter config"),
        (b'{"peft_type": "LORA", "r": ' + b"1" * 5000 + b"}", "is not an adapter config"),
        (b"\xff\xfe{}", "is not an adapter config"),
        (b" " * 2**21, "too many for one"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_config_of_an_adapter_says_what_is_wrong(config: Any, message: str, tmp_path: Path) -> None:
    saved(tmp_path, config)
    with pytest.raises(UserError, match=message) as error:
        make().load_adapter(2, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(KEY), "has shapes"),
        (lambda t: [t.pop(key) for key in list(t) if "layers.1" in key], "no weights for 2 of the layers"),
        (lambda t: t.update({KEY: t[KEY][:, :5]}), "has shapes"),
        (lambda t: t.update({KEY: torch.full_like(t[KEY], float("nan"))}), "not finite"),
        (lambda t: t.update({KEY: torch.full_like(t[KEY], float("inf"))}), "not finite"),
        (lambda t: t.update({KEY: t[KEY].to(torch.int8)}), "not finite .torch.int8"),
        (lambda t: t.update({KEY.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(32)}), "magnitude"),
        (lambda t: t.update({KEY.replace("q_proj", "k_proj"): t[KEY].clone()}), "k_proj.*set bank.targets"),
        (lambda t: t.update({KEY.replace("lora_A.weight", "lora_A.default.weight"): t[KEY].clone()}), "default"),
    ],
)
def test_weights_of_an_adapter_are_those_that_it_promises(
    change: Callable[[dict[str, Tensor]], Any], message: str, tmp_path: Path
) -> None:
    saved(tmp_path, tensors=change)
    bank = make()
    before = copy.deepcopy(bank.state_dict())
    with pytest.raises(UserError, match=message) as error:
        bank.load_adapter(2, tmp_path)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in bank.state_dict().items())


def test_an_adapter_wakes_a_bank_that_rests(tmp_path: Path) -> None:
    make().save_adapter(1, tmp_path)
    bank = ExpertBank(lm=base(), experts=2, rank=4, alpha=8, targets=LLAMA_TARGETS).eval().requires_grad_(False)
    assert bank.rest()
    ids, mask, _ = inputs()
    rows = torch.zeros(R, dtype=torch.long)
    rested = run(bank, ids, mask, rows)
    bank.load_adapter(0, tmp_path)
    assert not torch.equal(run(bank, ids, mask, rows), rested)


def test_save_and_load_round_trip_leaves_no_temporary_files(tmp_path: Path) -> None:
    source, target = make(), make()
    source.save_adapter(1, tmp_path)
    source.save_adapter(3, tmp_path)  # over an adapter that is there
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    target.load_adapter(0, tmp_path)
    for name, layer in target.adapted().items():
        assert torch.equal(layer.lora_A[0], source.adapted()[name].lora_A[3])
        torch.testing.assert_close(layer.lora_B[0], source.adapted()[name].lora_B[3])


def test_bad_adapters_are_refused(tmp_path: Path) -> None:
    bank = make()
    before = copy.deepcopy(bank.state_dict())
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        bank.load_adapter(0, tmp_path)
    make(rank=8).save_adapter(0, tmp_path)
    with pytest.raises(UserError, match=r"bank\.rank >= 8"):
        bank.load_adapter(0, tmp_path)
    make("gpt2").save_adapter(0, tmp_path)
    with pytest.raises(UserError, match=r"set bank\.targets to"):
        bank.load_adapter(0, tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x00" * 10)
    with pytest.raises(UserError, match="cannot read"):
        bank.load_adapter(0, tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "IA3", "task_type": "CAUSAL_LM"}')
    with pytest.raises(UserError, match="LoRA only"):
        bank.load_adapter(0, tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"')
    with pytest.raises(UserError, match="not an adapter config"):
        bank.load_adapter(0, tmp_path)
    assert all(torch.equal(before[k], v) for k, v in bank.state_dict().items())


def test_upcycled_experts_equal_the_dense_one() -> None:
    bank = make()
    ids, mask, expert = inputs()
    dense = run(bank, ids, mask, torch.full((R,), 2))
    assert not torch.allclose(run(bank, ids, mask, expert), dense)
    bank.upcycle(2)
    torch.testing.assert_close(run(bank, ids, mask, expert), dense, atol=1e-5, rtol=1e-5)


def test_upcycled_from_nothing_experts_are_equal_and_learn_apart() -> None:
    """An adapter that adds nothing leaves every expert an A of its own."""
    bank = make()
    for layer in bank.adapted().values():
        layer.lora_B.data[0] = 0
    bank.upcycle(0)
    ids, mask, expert = inputs()
    plain = run(bank, ids, mask, torch.zeros_like(expert))
    torch.testing.assert_close(run(bank, ids, mask, expert), plain, atol=1e-5, rtol=1e-5)
    for layer in bank.adapted().values():
        assert not layer.lora_B.any() and not torch.equal(layer.lora_A[0], layer.lora_A[1])


def test_adapters_rest_only_while_they_can_change_nothing() -> None:
    family = next(iter(FAMILIES))
    bank = ExpertBank(lm=base(family), experts=4, rank=4, alpha=8, targets=FAMILIES[family][1]).eval()
    awake = run(bank, *inputs())
    assert not bank.rest()  # they train
    for layer in bank.adapted().values():
        layer.lora_A.requires_grad_(False)
        layer.lora_B.requires_grad_(False)
    assert bank.rest() and torch.equal(run(bank, *inputs()), awake)
    with torch.no_grad():
        next(iter(bank.adapted().values())).lora_B[1] += 1.0
    assert not bank.rest() and not torch.allclose(run(bank, *inputs()), awake)


def test_rows_do_not_touch_each_other() -> None:
    bank = make()
    ids, mask, expert = inputs()
    whole = run(bank, ids, mask, expert)
    for i in range(R):
        alone = run(bank, ids[i : i + 1], mask[i : i + 1], expert[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_sees_the_rows_of_its_own_pass() -> None:
    """Two passes with different rows before one backward, and dropout: the recomputation must use each its own."""
    ids, mask, expert = inputs()
    grads = []
    for checkpointing in (False, True):
        bank = make(dropout=0.2, checkpointing=checkpointing).train()
        torch.manual_seed(5)
        loss = run(bank, ids, mask, expert).square().sum()
        loss = loss + run(bank, ids[:2], mask[:2], torch.tensor([2, 3])).square().sum()
        share = SHARE.clone().requires_grad_()
        loss = loss + run(bank, ids, mask, share).square().sum()
        loss.backward()
        grads.append({n: p.grad for n, p in bank.named_parameters() if "lora_" in n} | {"share": share.grad})
    for name, reference in grads[0].items():
        torch.testing.assert_close(grads[1][name], reference, atol=1e-5, rtol=1e-5)


def test_an_exception_leaves_no_rows_behind() -> None:
    bank = make()
    ids, mask, expert = inputs()
    expected = run(bank, ids, mask, expert)
    with pytest.raises(Exception):  # noqa: B017  # whatever the model raises for a wrong width
        bank(torch.zeros(R, L, 5), mask, expert)
    with pytest.raises(RuntimeError, match="only through ExpertBank"):
        bank.lm(input_ids=ids, attention_mask=mask)
    torch.testing.assert_close(run(bank, ids, mask, expert), expected)


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_select_spreads_and_moves_rows(kind: str) -> None:
    bank = make() if kind == "shared" else fill(separate(4)).eval()
    ids, mask, expert = inputs()
    index = torch.tensor([1, 0, 0, 3, 2, 4, 5, 5])
    first = bank(bank.embed(ids, expert), mask, expert, cache="new")
    cache = bank.select(first.cache, expert, index)
    more = torch.arange(len(index))[:, None] + 5
    seen = torch.ones(len(index), L + 1, dtype=torch.bool)
    out = bank(bank.embed(more, expert[index]), seen, expert[index], cache=cache)
    whole = torch.cat([ids[index], more], dim=1)
    expected = bank(bank.embed(whole, expert[index]), seen, expert[index]).hidden[:, -1:]
    torch.testing.assert_close(out.hidden, expected, atol=1e-5, rtol=1e-4)


def separate(experts: int, **options: object) -> SeparateBank:
    return SeparateBank(lm=base(), experts=experts, rank=4, alpha=6.0, targets=LLAMA_TARGETS, **options)


def test_separate_models_with_merged_adapters_equal_the_shared_bank() -> None:
    shared, ids_mask_expert = make(), inputs()
    lms = []
    for e in range(4):
        lm = base()
        for name, layer in shared.adapted().items():
            lm.get_submodule(name).weight.data += layer.scale * (layer.lora_B[e] @ layer.lora_A[e]).detach()
        lms.append(lm)
    bank = SeparateBank(lm=lms, experts=4, rank=4, alpha=6.0, targets=LLAMA_TARGETS).eval()
    torch.testing.assert_close(run(bank, *ids_mask_expert), run(shared, *ids_mask_expert), atol=1e-5, rtol=1e-5)


def test_separate_bank_upcycles_saves_and_refuses_mixed_vocabularies(tmp_path: Path) -> None:
    bank = fill(separate(3)).eval()
    ids, mask, _ = inputs()
    one, two = (torch.full((R,), e) for e in (1, 2))
    expected = run(bank, ids, mask, one)
    assert not torch.allclose(run(bank, ids, mask, two), expected)
    bank.save_adapter(1, tmp_path)
    bank.load_adapter(2, tmp_path)
    torch.testing.assert_close(run(bank, ids, mask, two), expected)
    bank.upcycle(1)
    torch.testing.assert_close(run(bank, ids, mask, torch.tensor([0, 0, 1, 1, 2, 2])), expected)
    other = causal_lm(vocab_size=V + 1, config=LLAMA)
    with pytest.raises(UserError, match="vocabulary"):
        SeparateBank(lm=[base(), other], experts=2, rank=4, alpha=6.0, targets=LLAMA_TARGETS)


IDLE = ([0, 0, 1, 1, 3, 3], [2, 2, 2, 3, 3, 3])  # rows of the two ranks: experts 0, 1 and 2 are idle on one of them
KINDS = {"shared": lambda: make().train(), "separate": lambda: fill(separate(4)).train()}


def _ddp(rank: int, folder: Path) -> None:
    for kind, build in KINDS.items():
        model = DistributedDataParallel(_Step(build()), find_unused_parameters=False)
        ids, mask, expert = inputs(IDLE[rank])
        for _ in range(2):  # the second step is where a missing reduction is noticed
            model.zero_grad()
            model(ids - rank, mask, expert).square().mean().backward()
        if rank == 0:
            gradients = {n.removeprefix("module.bank."): p.grad for n, p in model.named_parameters()}
            torch.save(gradients, folder / f"{kind}.pt")
        del model


class _Step(nn.Module):
    def __init__(self, bank: nn.Module) -> None:
        super().__init__()
        self.bank = bank

    def forward(self, ids: Tensor, mask: Tensor, expert: Tensor) -> Tensor:
        return run(self.bank, ids, mask, expert)


@pytest.mark.slow
def test_ddp_with_experts_idle_on_one_rank(tmp_path: Path) -> None:
    """No unused-parameter error, and the gradient is the mean over the ranks."""
    in_two(_ddp, tmp_path)
    for kind, build in KINDS.items():
        bank = build()
        for rank, index in enumerate(IDLE):
            ids, mask, expert = inputs(index)
            (run(bank, ids - rank, mask, expert).square().mean() / 2).backward()
        for name, gradient in torch.load(tmp_path / f"{kind}.pt").items():
            torch.testing.assert_close(gradient, bank.get_parameter(name).grad, atol=1e-6, rtol=1e-4)


def test_bank_refuses_what_it_cannot_adapt() -> None:
    with pytest.raises(UserError, match=r"no layers \['query'\].*q_proj"):
        make(targets=["q_proj", "query"])
    with pytest.raises(UserError, match="at least one expert"):
        make(experts=0)
    lm = causal_lm(vocab_size=V, config={**LLAMA, "model_type": "gemma2", "head_dim": 8})
    with pytest.raises(UserError, match="final_logit_softcapping"):
        ExpertBank(lm=lm, experts=1, rank=4, alpha=4, targets=["q_proj"])


def test_half_precision_base_keeps_adapters_in_fp32() -> None:
    lm = base().to(torch.bfloat16)
    bank = fill(ExpertBank(lm=lm, experts=4, rank=4, alpha=6.0, targets=LLAMA_TARGETS)).eval()
    assert {p.dtype for n, p in bank.named_parameters() if "lora_" in n} == {torch.float32}
    ids, mask, expert = inputs()
    got = run(bank, ids, mask, expert)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), run(make(), ids, mask, expert), atol=0.1, rtol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = run(make(), ids, mask, expert)
    torch.testing.assert_close(mixed.float(), run(make(), ids, mask, expert), atol=0.1, rtol=0.1)


def test_state_survives_copy_and_state_dict() -> None:
    bank = make()
    ids, mask, expert = inputs()
    twin, expected = copy.deepcopy(bank), run(bank, ids, mask, expert)
    torch.testing.assert_close(run(twin, ids, mask, expert), expected)
    other = fill(make(), seed=9)
    assert not torch.allclose(run(other, ids, mask, expert), expected)
    other.load_state_dict(bank.state_dict())
    torch.testing.assert_close(run(other, ids, mask, expert), expected)
    assert isinstance(bank.lm.model.layers[0].self_attn.q_proj, GroupedLoRA)
