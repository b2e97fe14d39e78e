"""rsmoe: mixture-of-experts vision-language models for remote sensing imagery.

Nothing is imported here, so that ``import rsmoe`` stays instant; import the package you need::

    from rsmoe.model import RSMoE
    from rsmoe.metrics import find_metric
"""

__version__ = "0.1.0"
