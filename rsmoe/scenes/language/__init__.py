"""Facts of a generated scene, and captions, descriptions, questions and expressions that say it."""
