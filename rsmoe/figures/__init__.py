"""Figures: pictures of data and of what a model did, fit for a paper.

Each module draws one kind of sheet or plot and writes it whole or not at all; none computes a number. Figures are 7.2
inches wide (a page of two columns) at 200 dpi, no text below 8 pt, colours that colour-blind readers can tell apart.
"""
