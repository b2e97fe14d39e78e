"""Q-Formers: the contract for every yaml, transformers' InstructBLIP as the reference, and where weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from torch import Tensor, nn

from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.qformer.instruct import InstructQFormer
from rsmoe.qformer.weights import rename
from rsmoe.temporal import VisualMemory

Donor = transformers.InstructBlipForConditionalGeneration
CONF = Path(__file__).parents[2] / "conf" / "qformer"
YAMLS = {p.stem: yaml.safe_load(p.read_text()) for p in sorted(CONF.glob("*.yaml"))}
LOCAL = sorted(name for name in YAMLS if name != "instruct_bert_base")
MEMORY, VOCAB = 20, 60
TINY: dict[str, Any] = {
    "width": 24,
    "layers": 4,
    "heads": 3,
    "queries": 5,
    "intermediate": 40,
    "max_positions": 32,
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(YAMLS[name], memory_width=MEMORY, vocab_size=VOCAB).eval()


def tiny(**changes: Any) -> InstructQFormer:
    torch.manual_seed(0)
    return InstructQFormer(**({"memory_width": MEMORY, "vocab_size": VOCAB} | TINY | changes)).eval()


def request(batch: int = 3, tokens: int = 7, words: int = 6) -> tuple[VisualMemory, Tensor, Tensor]:
    """Memories of different lengths, instructions of different lengths."""
    torch.manual_seed(1)
    mask = torch.arange(tokens) < torch.tensor([tokens, 4, 6])[:batch, None]
    memory = VisualMemory(tokens=torch.randn(batch, tokens, MEMORY), mask=mask)
    return memory, torch.randint(VOCAB, (batch, words)), torch.arange(words) < torch.tensor([6, 3, 1])[:batch, None]


def scramble(module: nn.Module, seed: int = 3) -> nn.Module:
    """Weights away from zeros and ones, which would hide one in a wrong place."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.3)
    return module.eval()


def donor_config(**changes: Any) -> transformers.InstructBlipQFormerConfig:
    return transformers.InstructBlipQFormerConfig(
        **{
            "vocab_size": VOCAB,
            "hidden_size": 24,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "intermediate_size": 40,
            "max_position_embeddings": 32,
            "encoder_hidden_size": MEMORY,
            "cross_attention_frequency": 2,
        }
        | changes
    )


# the contract


@pytest.mark.parametrize("name", LOCAL)
def test_contract(name: str) -> None:
    module = build(name)
    memory, ids, mask = request()
    queries = module(memory, ids, mask)
    assert queries.shape == (3, module.queries, module.width) and queries.dtype == torch.float32
    assert torch.equal(queries, module(memory, ids, mask))

    queries.square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []

    empty = VisualMemory(tokens=memory.tokens[:0], mask=memory.mask[:0])
    assert module(empty, ids[:0], mask[:0]).shape == (0, module.queries, module.width)
    assert module(memory, ids[:, :0], mask[:, :0]).shape == queries.shape  # no instruction at all

    twin = scramble(build(name))
    assert not torch.allclose(twin(memory, ids, mask), queries)
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin(memory, ids, mask), queries)


@pytest.mark.parametrize("name", LOCAL)
def test_masked_memory_has_no_influence(name: str) -> None:
    module = scramble(build(name))
    memory, ids, mask = request()
    noise = torch.where(memory.mask[..., None], memory.tokens, 1e3 * torch.randn_like(memory.tokens))
    expected = module(memory, ids, mask)
    assert torch.allclose(module(VisualMemory(tokens=noise, mask=memory.mask), ids, mask), expected, atol=1e-5)
    short = VisualMemory(tokens=memory.tokens[1:2, :4], mask=memory.mask[1:2, :4])  # as if it had been alone
    assert torch.allclose(module(short, ids[1:2], mask[1:2]), expected[1:2], atol=1e-5)
    moved = VisualMemory(tokens=memory.tokens.flip(-1), mask=memory.mask)
    assert not torch.allclose(module(moved, ids, mask), expected, atol=1e-3)


@pytest.mark.parametrize("name", [n for n in LOCAL if n.startswith("instruct")])
def test_words_guide_and_padding_does_not(name: str) -> None:
    module = scramble(build(name))
    memory, ids, mask = request()
    expected = module(memory, ids, mask)
    assert torch.allclose(module(memory, torch.where(mask, ids, 9), mask), expected, atol=1e-5)
    other = module(memory, (ids + 1) % VOCAB, mask)
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(other, expected, strict=True))


@pytest.mark.parametrize("name", ["resampler", "pooled"])
def test_comparisons_read_no_instruction(name: str) -> None:
    module = build(name)
    memory, ids, mask = request()
    assert torch.equal(module(memory, (ids + 1) % VOCAB, mask), module(memory, ids, mask))


def test_instruct_bert_base_has_its_published_size() -> None:
    with torch.device("meta"):
        module = instantiate(YAMLS["instruct_bert_base"], memory_width=1408, vocab_size=30_523)
        memory = VisualMemory(tokens=torch.empty(2, 514, 1408), mask=torch.ones(2, 514, dtype=torch.bool))
        queries = module(memory, torch.ones(2, 9, dtype=torch.long), torch.ones(2, 9, dtype=torch.bool))
        reference = transformers.InstructBlipQFormerModel(transformers.InstructBlipQFormerConfig(vocab_size=30_523))
    total = sum(p.numel() for p in module.parameters())
    assert total - 24_576 == sum(p.numel() for p in reference.parameters()) == 185_660_160
    assert queries.shape == (2, 32, 768)


# numbers


@pytest.mark.parametrize("frequency", [1, 2, 3])
def test_equals_transformers(frequency: int) -> None:
    reference = scramble(transformers.InstructBlipQFormerModel(donor_config(cross_attention_frequency=frequency)))
    module = tiny(cross_attention_frequency=frequency)
    missing, unexpected = module.load_state_dict(rename(reference.state_dict()), strict=False)
    assert missing == ["query_tokens"] and unexpected == []
    memory, ids, mask = request()
    with torch.no_grad():
        expected = reference(
            input_ids=ids,
            attention_mask=torch.cat([torch.ones(3, 5), mask], 1),
            query_embeds=module.query_tokens.expand(3, -1, -1),
            encoder_hidden_states=memory.tokens,
            encoder_attention_mask=memory.mask,
        ).last_hidden_state[:, :5]
        queries = module(memory, ids, mask)
    assert (queries - expected).abs().max() <= 1e-5
    assert queries.std() > 0.1


def test_equals_transformers_gradients() -> None:
    reference = scramble(transformers.InstructBlipQFormerModel(donor_config()))
    module = tiny()
    module.load_state_dict(rename(reference.state_dict()), strict=False)
    memory, ids, mask = request()
    inputs = [memory.tokens.clone().requires_grad_() for _ in range(2)]
    query_embeds = module.query_tokens.detach().expand(3, -1, -1)
    out = reference(ids, torch.cat([torch.ones(3, 5), mask], 1), None, query_embeds, inputs[0], memory.mask)
    out.last_hidden_state[:, :5].square().sum().backward()
    module(VisualMemory(tokens=inputs[1], mask=memory.mask), ids, mask).square().sum().backward()
    assert inputs[0].grad is not None and inputs[1].grad is not None
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-4)


def test_dropout_acts_in_training_only() -> None:
    module = tiny(dropout=0.5)
    given = request()
    assert torch.equal(module(*given), module(*given))
    module.train()
    assert not torch.equal(module(*given), module(*given))


def test_random_weights_are_as_wide_as_asked() -> None:
    for std in (0.02, 0.05):
        module = InstructQFormer(memory_width=MEMORY, vocab_size=VOCAB, width=192, layers=1, heads=4, init_std=std)
        for weights in (module.words.weight, module.query_tokens, module.layers[0].query_ffn.up.weight):
            assert abs(float(weights.detach().std()) / std - 1) < 0.05
    assert YAMLS["instruct_bert_base"].get("init_std", 0.02) == 0.02  # as published


def test_pooled_averages_neighbours() -> None:
    module = instantiate(YAMLS["pooled"] | {"queries": 3}, memory_width=MEMORY, vocab_size=VOCAB)
    module.project = nn.Identity()
    memory, ids, mask = request()  # 7, 4 and 6 valid tokens
    pooled = module(memory, ids, mask)
    for row, count in enumerate((7, 4, 6)):
        expected = nn.functional.adaptive_avg_pool1d(memory.tokens[row, :count].T, 3).T
        assert torch.allclose(pooled[row], expected, atol=1e-6)


# where weights come from


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Tensor]]:
    """A tiny BERT of 50 words, saved as people publish it: with its language-modelling head."""
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=40,
    )
    model = scramble(transformers.BertForMaskedLM(config), seed=5)
    folder = tmp_path_factory.mktemp("bert")
    model.save_pretrained(folder)
    return str(folder), {k: v.clone() for k, v in model.bert.state_dict().items()}


def test_starts_from_bert(bert: tuple[str, dict[str, Tensor]]) -> None:
    folder, theirs = bert
    module, fresh = tiny(bert=folder), tiny()
    ours, random = module.state_dict(), fresh.state_dict()
    assert torch.equal(ours["words.weight"][:50], theirs["embeddings.word_embeddings.weight"])
    assert torch.equal(ours["words.weight"][50:], random["words.weight"][50:])  # 10 new tokens
    assert torch.equal(ours["positions.weight"], theirs["embeddings.position_embeddings.weight"][:32])
    assert torch.equal(ours["norm.bias"], theirs["embeddings.LayerNorm.bias"])
    for i in range(4):
        layer = f"encoder.layer.{i}"
        for end in ("weight", "bias"):
            pairs = {
                "attention.query": "attention.self.query",
                "attention.value": "attention.self.value",
                "attention.out": "attention.output.dense",
                "attention.norm": "attention.output.LayerNorm",
                "text_ffn.up": "intermediate.dense",
                "text_ffn.down": "output.dense",
                "text_ffn.norm": "output.LayerNorm",
                "query_ffn.up": "intermediate.dense",
                "query_ffn.down": "output.dense",
                "query_ffn.norm": "output.LayerNorm",
            }
            for mine, source in pairs.items():
                assert torch.equal(ours[f"layers.{i}.{mine}.{end}"], theirs[f"{layer}.{source}.{end}"]), (i, mine)
    for name in ("layers.0.cross_attention.key.weight", "layers.2.cross_attention.out.weight", "query_tokens"):
        assert torch.equal(ours[name], random[name]) and ours[name].std() == pytest.approx(0.02, rel=0.2)
    twin = ours["layers.1.query_ffn.up.weight"]
    assert twin.data_ptr() != ours["layers.1.text_ffn.up.weight"].data_ptr()  # copied, not tied


def test_text_branch_is_bert_s(bert: tuple[str, dict[str, Tensor]]) -> None:
    """Queries that words do not see leave BERT itself: its numbers come out of the text half."""
    folder, _ = bert
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        model.embeddings.token_type_embeddings.weight.zero_()  # the Q-Former has none
    module = tiny(bert=folder)
    _, ids, mask = request()
    ids = ids % 50
    state = module.norm(module.words(ids) + module.positions.weight[: ids.shape[1]])
    for layer in module.layers:
        state = layer(state, 0, mask[:, None, None], torch.zeros(3, 1, MEMORY), torch.ones(3, 1, 1, 1).bool())
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(state[mask], expected[mask], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 40}, "40 tokens.*has 50"),
        ({"width": 48}, "Set qformer.width"),
        ({"layers": 3}, "qformer.layers"),
        ({"layers": 5}, "qformer.layers"),
        ({"heads": 4}, "has 3: set qformer.heads"),
        ({"intermediate": 48}, "intermediate"),
        ({"max_positions": 64}, "max_positions"),
    ],
)
def test_another_bert_is_refused(changes: dict[str, Any], message: str, bert: tuple[str, dict[str, Tensor]]) -> None:
    with pytest.raises(UserError, match=message):
        tiny(bert=bert[0], **changes)


@pytest.fixture(scope="module")
def instructblip(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Donor]:
    small = {"hidden_size": 20, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.InstructBlipConfig(
        vision_config=small | {"image_size": 16, "patch_size": 8},
        qformer_config=donor_config().to_dict(),
        text_config=small | {"model_type": "llama", "vocab_size": 30, "bos_token_id": 0, "eos_token_id": 1},
        num_query_tokens=5,
    )
    model = scramble(transformers.InstructBlipForConditionalGeneration(config), seed=6)
    folder = tmp_path_factory.mktemp("instructblip")
    model.save_pretrained(folder)
    return str(folder), model


@pytest.mark.parametrize("vocab", [VOCAB, VOCAB - 1, VOCAB + 3])
def test_takes_all_of_instructblip(vocab: int, instructblip: tuple[str, Donor]) -> None:
    folder, model = instructblip
    module = tiny(instructblip=folder, vocab_size=vocab)  # BERT's tokenizer has no [DEC], ours may have more
    assert torch.equal(module.query_tokens, model.query_tokens)
    memory, ids, mask = request()
    ids = ids % (VOCAB - 1)
    with torch.no_grad():
        expected = model.qformer(
            input_ids=ids,
            attention_mask=torch.cat([torch.ones(3, 5), mask], 1),
            query_embeds=model.query_tokens.expand(3, -1, -1),
            encoder_hidden_states=memory.tokens,
            encoder_attention_mask=memory.mask,
        ).last_hidden_state[:, :5]
        assert (module(memory, ids, mask) - expected).abs().max() <= 1e-5


def test_another_instructblip_is_refused(bert: tuple[str, dict[str, Tensor]], instructblip: tuple[str, Donor]) -> None:
    with pytest.raises(UserError, match="of 'bert', expected 'instructblip'"):
        tiny(instructblip=bert[0])
    with pytest.raises(UserError, match="of 'instructblip', expected 'bert'"):
        tiny(bert=instructblip[0])
    with pytest.raises(UserError, match="queries"):
        tiny(instructblip=instructblip[0], queries=6)
    with pytest.raises(UserError, match="cross_attention_frequency"):
        tiny(instructblip=instructblip[0], cross_attention_frequency=1)
    with pytest.raises(UserError, match="set one of them to null"):
        tiny(instructblip=instructblip[0], bert=bert[0])


def test_lavis_names_are_ours_too() -> None:
    prefix = "Qformer.bert.encoder.layer.0."
    names = {
        "Qformer.bert.embeddings.LayerNorm.weight": "norm.weight",
        prefix + "attention.self.query.weight": "layers.0.attention.query.weight",
        prefix + "crossattention.self.key.weight": "layers.0.cross_attention.key.weight",
        prefix + "crossattention.output.LayerNorm.bias": "layers.0.cross_attention.norm.bias",
        prefix + "intermediate_query.dense.bias": "layers.0.query_ffn.up.bias",
        prefix + "output_query.LayerNorm.bias": "layers.0.query_ffn.norm.bias",
        "query_tokens": "query_tokens",
    }
    assert list(rename(dict.fromkeys(names, torch.zeros(1)))) == list(names.values())


# bad input


def test_long_instructions_and_odd_heads() -> None:
    memory, _, _ = request()
    with pytest.raises(UserError, match="33 tokens, the Q-Former takes 32"):
        tiny()(memory, torch.zeros(3, 33, dtype=torch.long), torch.ones(3, 33, dtype=torch.bool))
    with pytest.raises(UserError, match="not a multiple of qformer.heads=5"):
        tiny(heads=5)
