"""What was typed for the current job of a command that Hydra runs."""

from __future__ import annotations


def typed_words() -> list[str] | None:
    """What was typed, of the current job of a sweep; None outside of a command line."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else None


def config_folder() -> str | None:
    """The folder of ``--config-dir``; None where none was given."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return next((s.path for s in sources if s.provider == "command-line" and s.schema == "file"), None)
