"""Change detection without learning: what a trained map of changes has to beat.

Each method takes two dates (H, W, C) of one size and gives an (H, W) bool map. None is told how much has changed.
Thresholds, components and clusters are scikit-image's and scikit-learn's (extra ``classical``).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch

from rsmoe.errors import UserError


def matched(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both dates as (H, W, C) float64, the second with the first's mean and deviation in each band.

    Rounded to a millionth of a grey level: equal dates are then equal, and no threshold is sought in rounding errors.
    """
    a, b = before.astype(np.float64), after.astype(np.float64)
    scale = a.std((0, 1)) / np.maximum(b.std((0, 1)), 1e-9)
    return a, ((b - b.mean((0, 1))) * scale + a.mean((0, 1))).round(6)


def otsu(values: np.ndarray) -> float:
    """The threshold that sets two classes of values furthest apart (Otsu, IEEE Trans. SMC 1979), of 256.

    Values that are all the same give that value: nothing lies beyond it.

    Raises:
        UserError: scikit-image is not installed.
    """
    return float(_library("skimage.filters").threshold_otsu(values, nbins=256))


def change_vectors(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Change vector analysis: length of the difference of matched bands, cut by `otsu` (Malila, LARS 1980)."""
    a, b = matched(before, after)
    length = np.linalg.norm(b - a, axis=-1)
    found: np.ndarray = length > otsu(length)
    return found


def pca_kmeans(before: np.ndarray, after: np.ndarray, *, block: int = 4, parts: int = 3) -> np.ndarray:
    """Principal components of blocks of the difference, in two clusters (Celik, IEEE GRSL 2009).

    Components of the h x h blocks of abs(b - a) (mean over matched bands) apart; each pixel's own block on the
    first of them; k-means with k = 2, started at the least and the greatest response; the cluster with the larger mean
    difference has changed.

    Args:
        before, after: (H, W, C).
        block: h.
        parts: components.

    Raises:
        UserError: scikit-learn is not installed.
    """
    a, b = matched(before, after)
    difference = np.abs(b - a).mean(-1)
    if difference.min() == difference.max():
        return np.zeros(difference.shape, bool)  # one cluster
    height, width = (side - side % block for side in difference.shape)
    tiles = difference[:height, :width].reshape(height // block, block, width // block, block)
    pca = _library("sklearn.decomposition").PCA(parts).fit(tiles.transpose(0, 2, 1, 3).reshape(-1, block * block))
    padded = np.pad(difference, ((block // 2, block - block // 2 - 1),) * 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (block, block)).reshape(-1, block * block)
    features, size = pca.transform(around), around.mean(-1)
    ends = features[[int(size.argmin()), int(size.argmax())]]
    cluster = _library("sklearn.cluster").KMeans(2, init=ends, n_init=1).fit_predict(features)
    changed = int(size[cluster == 1].mean() > size[cluster == 0].mean())
    found: np.ndarray = (cluster == changed).reshape(difference.shape)
    return found


def ir_mad(before: np.ndarray, after: np.ndarray, *, rounds: int = 30) -> np.ndarray:
    """Iteratively reweighted multivariate alteration detection, cut by `otsu` (Nielsen, IEEE Trans. IP 2007).

    With u_i, v_i the canonical variates of both dates and rho_i their correlations, Z = sum_i (u_i - v_i)^2 /
    (2 (1 - rho_i)); every pixel weighs P(chi^2_C > Z) in the next round. Blind to any linear change of the bands.
    """
    height, width, bands = before.shape
    x, y = (date.reshape(-1, bands).astype(np.float64) for date in (before, after))
    weight = np.ones(len(x))
    z, last = np.zeros(len(x)), np.zeros(bands)
    for _ in range(rounds):
        share = weight / max(weight.sum(), 1e-9)
        xc, yc = x - share @ x, y - share @ y
        ridge = 1e-6 * np.eye(bands)
        sxx, syy, sxy = (p.T @ (q * share[:, None]) for p, q in ((xc, xc), (yc, yc), (xc, yc)))
        lx, ly = (np.linalg.inv(np.linalg.cholesky(s + ridge * max(np.trace(s), 1e-6))) for s in (sxx, syy))
        left, rho, right = np.linalg.svd(lx @ sxy @ ly.T)
        rho = rho.clip(0, 1 - 1e-6)
        gap = xc @ (lx.T @ left) - yc @ (ly.T @ right.T)
        z = (gap**2 / (2 * (1 - rho))).sum(1)
        weight = torch.special.gammaincc(torch.tensor(bands / 2, dtype=torch.float64), torch.from_numpy(z / 2)).numpy()
        if np.abs(rho - last).max() < 1e-4:
            break
        last = rho
    root = np.sqrt(z).reshape(height, width).round(6)
    found: np.ndarray = root > otsu(root)
    return found


CLASSICAL = {"CVA + Otsu": change_vectors, "PCA + k-means": pca_kmeans, "IR-MAD": ir_mad}
"""Method -> function of two dates."""


def _library(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{error}. Classical change detection needs: pip install scikit-image scikit-learn") from error
