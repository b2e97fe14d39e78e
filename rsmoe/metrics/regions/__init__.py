"""Boxes and masks: grounding, oriented boxes, referring segmentation, class maps."""
