"""Maps: a decoder over the feature pyramid gives a class for every pixel, and visual tokens that describe its regions.

- `cover_map.CoverMap`: land cover of one date (semantic segmentation);
- `change_map.ChangeMap`: what changed between two dates (semantic change detection);
- `words_about.WordsAbout`: which word of an instruction names which class.

A map module is an ``nn.Module``; its constructor takes ``pyramid_widths`` and ``width`` (of the visual tokens):

- ``forward(pyramid levels of one date, or of two) -> evidence``, with class logits (R, K, h, w);
- ``tell(evidence, ...) -> tokens (R, n, D)``, which the language model reads behind the visual memory;
- ``losses(evidence, class_map) -> dict[str, Tensor]``.
"""
