"""Sentences around a class name, several for each: the mean of their embeddings stands for the class (CLIP, 3.1.4)."""

from __future__ import annotations

_BEFORE = (
    "low resolution", "bad", "cropped", "bright", "dark", "close-up", "black and white",
    "jpeg corrupted", "blurry", "good",
)  # fmt: skip
_INNER = ("large", "nice", "small", "weird", "cool")


def _rs5m() -> tuple[str, ...]:
    texts = []
    for kind in ("remote sensing image", "aerial image", "satellite image"):
        own = "an" if kind.startswith("a") else "a"
        texts += [f"{own} {kind} of {one} {{response}}." for one in ("many", "a", "the")]
        texts += [f"{own} {kind} of {one} hard to see {{response}}." for one in ("the", "a")]
        texts += [f"a {word} {kind} of {one} {{response}}." for word in _BEFORE for one in ("the", "a")]
        texts += [f"{own} {kind} of {one} {word} {{response}}." for word in _INNER for one in ("the", "a")]
    return tuple(texts)


ENSEMBLES = {
    "rs5m": _rs5m(),
    "skyscript": ("a satellite photo of {response}.", "a satellite image of {response}"),
}
"""Name -> its texts. "rs5m": the 105 of RS5M's zero-shot classifier (arXiv 2306.11300, classname_and_prompt/RSAID.py);
"skyscript": the two of SkyScript's (arXiv 2312.12856)."""
