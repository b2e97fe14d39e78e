"""Expert yamls, and the retrieval head: the embeddings match images with texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch.nn import functional as F

from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError
from rsmoe.experts.expert import Expert, HeadInput
from rsmoe.experts.retrieval import RetrievalExpert
from rsmoe.parts import instantiate

CONF = Path(__file__).parents[2] / "conf"
WIDTHS = {"hidden_width": 24, "pyramid_widths": (16, 32)}
NONE = torch.zeros(0, dtype=torch.long)


@pytest.mark.parametrize("path", sorted((CONF / "expert").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_expert_yaml(path: Path) -> None:
    expert = instantiate(yaml.safe_load(path.read_text()), **WIDTHS)
    assert isinstance(expert, Expert) and expert.name == path.stem
    assert f"# @package expert.{path.stem}" in path.read_text()  # or two experts would overwrite each other
    assert expert.token in (None, "[SEG]", "[RET]")
    if expert.token is None:
        with pytest.raises(TypeError, match="no head"):
            expert.head(HeadInput(hidden=torch.zeros(0, 24), sample=NONE, view=NONE, pyramid=(), compared=NONE.bool()))


def test_every_task_has_an_expert() -> None:
    served = {t for p in (CONF / "expert").glob("*.yaml") for t in yaml.safe_load(p.read_text())["tasks"]}
    assert served == set(task_names())


def test_unknown_task_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'caption'"):
        Expert(name="x", tasks=["captions"], **WIDTHS)


def retrieval_expert(**options: int) -> RetrievalExpert:
    torch.manual_seed(0)
    return RetrievalExpert(name="retrieval", tasks=["retrieval"], **{**WIDTHS, **options})


def retrieval_case(texts: list[list[int]]) -> tuple[HeadInput, SimpleNamespace]:
    torch.manual_seed(1)
    ids = torch.tensor(texts)
    n = len(texts)
    hidden, text = torch.randn(n, 24), torch.randn(n, 24)
    place, alone = torch.arange(n), torch.zeros(n, dtype=torch.bool)
    inputs = HeadInput(hidden=hidden, sample=place, view=place, pyramid=(), compared=alone, text_hidden=text)
    return inputs, SimpleNamespace(text_ids=ids, text_mask=ids > 0)


def test_retrieval_loss_is_symmetric_info_nce() -> None:
    expert = retrieval_expert(dim=8)
    inputs, batch = retrieval_case([[5, 6], [5, 0], [7, 8]])
    image, text = expert.head(inputs), expert.embed_text(inputs.text_hidden)
    assert image.shape == (3, 8)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(3))
    logits = image @ text.T / 0.07
    expected = (F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits.T, torch.arange(3))) / 2
    torch.testing.assert_close(expert.losses(inputs, batch)["retrieval"], expected)


def test_retrieval_duplicates_are_positives() -> None:
    """Two images of one text: what tells them apart is not learned, and a perfect model has the entropy of the tie."""
    expert = retrieval_expert()
    inputs, batch = retrieval_case([[5, 6], [5, 6], [7, 8]])
    with torch.no_grad():
        expert.text.load_state_dict(expert.image.state_dict())
    same = inputs.hidden[[0, 0, 2]] * torch.tensor([1.0, 1.0, -1.0])[:, None]
    perfect = replace(inputs, hidden=same, text_hidden=same)
    tie = 2 / 3 * torch.log(torch.tensor(2.0))
    torch.testing.assert_close(expert.losses(perfect, batch)["retrieval"], tie, atol=1e-3, rtol=0)
    distinct = retrieval_case([[5, 6], [5, 7], [7, 8]])[1]
    assert expert.losses(perfect, distinct)["retrieval"] >= tie - 1e-3


def test_retrieval_learns_to_match() -> None:
    expert = retrieval_expert(dim=16)
    inputs, batch = retrieval_case([[i, i] for i in range(1, 17)])
    optimizer = torch.optim.Adam(expert.parameters(), lr=1e-2)
    for _ in range(60):
        loss = expert.losses(inputs, batch)["retrieval"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = (expert.head(inputs) @ expert.embed_text(inputs.text_hidden).T).argmax(1)
    assert torch.equal(found, torch.arange(16))


def test_retrieval_edges() -> None:
    """One sample: zero, with every gradient there. Temperature bounded. No texts: no loss."""
    expert = retrieval_expert()
    inputs, batch = retrieval_case([[5, 6]])
    loss = expert.losses(inputs, batch)["retrieval"]
    loss.backward()
    assert loss == 0 and all(p.grad is not None for p in expert.parameters())
    inputs, batch = retrieval_case([[5, 6], [7, 8]])
    expert.logit_scale.data.fill_(50.0)
    assert expert.losses(inputs, batch)["retrieval"] <= 200.0
    silent = replace(inputs, text_hidden=None)
    assert expert.losses(silent, batch) == {}
