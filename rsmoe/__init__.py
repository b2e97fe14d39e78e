"""rsmoe: mixture-of-experts vision-language models for remote sensing imagery.

Nothing is imported here, so that ``import rsmoe`` stays instant. A trained model is asked in two lines::

    model = rsmoe.load("starter")  # or a run of yours, "runs/rsicap_moe/2026-11-21_12-00-00"
    print(model.ask("port.tif", "Describe this image in one sentence.").text)

Anything else comes from its own package: ``from rsmoe.metrics import find_metric``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rsmoe.evaluation.assistant import Assistant

__version__ = "0.1.0"
__all__ = ["load"]


def load(path: str | Path, *, device: str = "auto") -> Assistant:
    """A trained model, ready to be asked.

    Args:
        path: "starter", the model that comes with rsmoe; a run folder, a checkpoint file, a folder that
            `Assistant.save_pretrained` wrote, or the name of a model on the Hugging Face hub, <owner>/<model>.
        device: auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:1 or mps.

    Raises:
        rsmoe.errors.UserError: there is no such checkpoint, it cannot be read, or there is no such device.
    """
    from pathlib import Path

    from rsmoe.evaluation.assistant import Assistant
    from rsmoe.evaluation.open_run import open_run
    from rsmoe.weights.saved_model import fetch_model
    from rsmoe.weights.starter import is_starter

    place = Path(path).expanduser()
    here = place.exists() or is_starter(place)
    return Assistant(run=open_run(place if here else fetch_model(str(path)), device=device))
