"""From a plan of things to pixels: palette, light, shadow, canopy, noise."""
