"""Pictures of what a model did, fit for a paper.

- `router_plot.plot_router`: who got what, how evenly, and how the router came to it;
- `samples_plot.plot_samples`: a contact sheet of answers.

Figures are 7.2 inches wide (a page of two columns) at 200 dpi, no text below 8 pt, colours that colour-blind readers
can tell apart, and are written whole or not at all.
"""
