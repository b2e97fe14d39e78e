"""What is true of a generated scene, and captions, descriptions, questions and expressions that say it."""
