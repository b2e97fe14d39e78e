"""Choices: which experts follow from the logits z of a gate, see `rsmoe.router.Choice`; p = softmax(z)."""
