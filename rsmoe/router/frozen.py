"""Control: a random gate."""

from __future__ import annotations

from typing import Any

from rsmoe.router.instruction import InstructionRouter


class FrozenRouter(InstructionRouter):
    """Random routing by content: the instruction router with its initial weights, which are never trained.

    The gain of a learned router is its distance to this one. The weights are buffers, so that no pattern of
    ``stage.<name>.train`` matches them and checkpoints hold them.

    Args:
        options: of `InstructionRouter`; ``balance`` is not used.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.balance = None
        for module in list(self.modules()):
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())
