"""What stands where in a generated scene: things, their outlines, and the layouts of towns, country, water, transport."""
