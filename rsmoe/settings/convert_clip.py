"""Keys of ``python -m rsmoe.commands.convert_clip``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import OutFolder, PathWord, Pixels, Word


class ConvertClip(Settings):
    """Makes a CLIP folder of transformers from a file of OpenAI's, open_clip's, RemoteCLIP, GeoRSCLIP or SkyCLIP."""

    examples = (
        "file=RemoteCLIP-ViT-B-32.pt out=models/remoteclip",
        "file=RS5M_ViT-B-32.pt out=models/georsclip tokenizer=/models/clip-vit-base-patch32",
        "file=open_clip_model.safetensors kind=open_clip out=models/laion image_size=336",
    )

    file: PathWord = Field(
        description="a state dict, a training checkpoint, or a TorchScript archive, which is not run"
    )
    kind: Literal["openai", "open_clip", "remoteclip", "georsclip", "skyclip"] | None = Field(
        description="whose it is, which says the GELU it was trained with; null: as its name or its layout says"
    )
    tokenizer: Word | None = Field(
        description="CLIP's, a name on the hub or a folder, is put beside it; null: none, the folder reads no texts"
    )
    image_size: Pixels | None = Field(description="of the pictures; another than the file's resizes its positions")
    out: OutFolder = Field(description="folder of config.json, model.safetensors and the tokenizer")
