"""Settings contract: one pydantic model a command says which keys it takes, of which type, in which range.

``conf/<command>.yaml`` holds the default values, and is the only place that does; the model holds types, ranges, the
relations between keys, and the sentence that ``--help`` prints of each key. To add a key: one line in the yaml, one
in the model. A key whose type is a `types.Word`, a path among them, or a list of these, is taken as it is typed.
"""

from rsmoe.settings.model import Settings, check, settings_of

__all__ = ["Settings", "check", "settings_of"]
