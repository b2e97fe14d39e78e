"""What stands where in a generated scene: things, outlines, and layouts of towns, country, water and transport."""
