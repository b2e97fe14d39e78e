"""What the ground is made of: colours, texture, tree cover and the behaviour of each material over the seasons.

Colours are red, green, blue, near infrared on the 0-255 scale of an 8-bit product under full sun. They were chosen by
eye from aerial imagery; the near infrared follows the textbook curves (vegetation bright, clear water black, soil a
little above red, asphalt flat; Lillesand et al., Remote Sensing and Image Interpretation, ch. 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Color = tuple[float, float, float, float]
"""Red, green, blue and near infrared, 0 to 255."""

SEASONS = ("spring", "summer", "autumn", "winter")
"""Seasons that a scene can be drawn in."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """A surface whose colour wanders between two ends, driven by noise of three sizes."""

    cover: str
    """Name in `LAND_COVER`."""
    low: Color
    high: Color
    fine: float = 0.1
    """Weight of noise of 2-7 px in the mix of ``low`` and ``high``."""
    mid: float = 0.1
    """Weight of noise up to 40 px."""
    coarse: float = 0.15
    """Weight of noise of all sizes, the largest foremost."""
    grain: float = 0.03
    """Relative brightness noise from pixel to pixel."""
    trees: float = 0.0
    """Share of crown sites on this material that carry a tree (times the density of the place)."""
    plant: bool = False
    """Follows the seasons."""
    snow: float = 0.0
    """How readily snow stays on it, 0-1."""
    bump: float = 0.0
    """Height in metres of its small relief (plants, clods, waves)."""


MATERIALS: dict[str, Material] = {
    "grass": Material(cover="grass", low=(72, 84, 48, 142), high=(124, 122, 82, 150), fine=0.12, mid=0.16, coarse=0.3,
                      grain=0.05, trees=0.12, plant=True, snow=0.9, bump=0.15),
    "lawn": Material(cover="grass", low=(64, 80, 44, 150), high=(112, 116, 74, 152), fine=0.12, mid=0.2, coarse=0.2,
                     grain=0.06, trees=0.45, plant=True, snow=0.9, bump=0.2),
    "yard": Material(cover="grass", low=(92, 90, 62, 138), high=(140, 126, 98, 150), fine=0.14, mid=0.24, coarse=0.2,
                     grain=0.07, trees=0.4, plant=True, snow=0.9, bump=0.2),
    "turf": Material(cover="grass", low=(58, 88, 46, 160), high=(82, 104, 58, 162), fine=0.08, mid=0.1, coarse=0.2,
                     grain=0.035, plant=True, snow=0.8),
    "woods": Material(cover="grass", low=(44, 54, 32, 96), high=(72, 76, 48, 112), fine=0.12, mid=0.25, coarse=0.25,
                      grain=0.08, trees=1.0, plant=True, snow=0.8, bump=0.3),
    "scrub": Material(cover="bare land", low=(150, 126, 94, 158), high=(182, 158, 122, 188), fine=0.1, mid=0.15,
                      coarse=0.25, grain=0.05, trees=0.3, snow=0.4, bump=0.15),
    "soil": Material(cover="bare land", low=(122, 102, 78, 136), high=(166, 144, 114, 178), fine=0.14, mid=0.22,
                     coarse=0.22, grain=0.06, snow=0.8, bump=0.15),
    "cutover": Material(cover="bare land", low=(96, 78, 56, 112), high=(156, 134, 100, 166), fine=0.22, mid=0.28,
                        coarse=0.2, grain=0.1, snow=0.8, bump=0.4),
    "crop": Material(cover="farmland", low=(70, 92, 46, 168), high=(112, 124, 70, 172), fine=0.08, mid=0.1, coarse=0.25,
                     grain=0.04, plant=True, snow=0.9, bump=0.12),
    "stubble": Material(cover="farmland", low=(156, 138, 96, 166), high=(188, 170, 126, 196), fine=0.1, mid=0.1,
                        coarse=0.25, grain=0.04, snow=0.9, bump=0.1),
    "ploughed": Material(cover="farmland", low=(108, 90, 72, 122), high=(146, 126, 104, 158), fine=0.1, mid=0.12,
                         coarse=0.3, grain=0.05, snow=0.9, bump=0.12),
    "orchard": Material(cover="farmland", low=(112, 104, 70, 140), high=(146, 134, 98, 166), fine=0.1, mid=0.15,
                        coarse=0.2, grain=0.05, trees=1.0, plant=True, snow=0.9),
    "sand": Material(cover="sand", low=(196, 176, 142, 206), high=(222, 206, 174, 228), fine=0.08, mid=0.14,
                     coarse=0.3, grain=0.025, snow=0.2, bump=0.1),
    "wet sand": Material(cover="sand", low=(136, 116, 92, 130), high=(168, 146, 118, 166), fine=0.05, mid=0.1,
                         coarse=0.35, grain=0.02),
    "dune": Material(cover="sand", low=(190, 152, 102, 202), high=(218, 182, 130, 226), fine=0.05, mid=0.08, coarse=0.3,
                     grain=0.02, bump=0.12),
    "mud": Material(cover="bare land", low=(118, 104, 82, 112), high=(150, 136, 108, 150), fine=0.08, mid=0.2,
                    coarse=0.3, grain=0.04, snow=0.5),
    "rock": Material(cover="rock", low=(104, 98, 90, 112), high=(156, 148, 136, 164), fine=0.2, mid=0.25, coarse=0.25,
                     grain=0.08, snow=0.9, bump=0.8),
    "snowfield": Material(cover="rock", low=(206, 210, 216, 196), high=(240, 242, 244, 226), fine=0.08, mid=0.2,
                          coarse=0.3, grain=0.02, bump=0.2),
    "asphalt": Material(cover="road", low=(92, 90, 87, 92), high=(126, 122, 116, 122), fine=0.06, mid=0.12, coarse=0.28,
                        grain=0.03),
    "dirt road": Material(cover="road", low=(146, 126, 100, 154), high=(184, 164, 134, 190), fine=0.1, mid=0.2,
                          coarse=0.2, grain=0.04, snow=0.4),
    "parking": Material(cover="paved", low=(98, 97, 96, 98), high=(136, 133, 128, 134), fine=0.06, mid=0.16,
                        coarse=0.3, grain=0.03),
    "concrete": Material(cover="paved", low=(150, 145, 134, 152), high=(186, 180, 168, 184), fine=0.07, mid=0.15,
                         coarse=0.3, grain=0.025, snow=0.15),
    "gravel": Material(cover="bare land", low=(134, 123, 104, 138), high=(174, 160, 138, 176), fine=0.16, mid=0.2,
                       coarse=0.25, grain=0.05, snow=0.5),
    "runway": Material(cover="paved", low=(80, 80, 82, 82), high=(118, 116, 113, 118), fine=0.05, mid=0.12, coarse=0.3,
                       grain=0.025),
    "paint": Material(cover="road", low=(196, 194, 186, 190), high=(226, 224, 216, 218), grain=0.02),
    "court paint": Material(cover="paved", low=(204, 204, 198, 200), high=(228, 228, 222, 220), grain=0.02),
    "court": Material(cover="paved", low=(92, 108, 88, 110), high=(112, 126, 104, 126), fine=0.06, mid=0.1, grain=0.02),
    "infield": Material(cover="bare land", low=(164, 128, 92, 168), high=(190, 156, 118, 192), fine=0.1, mid=0.15,
                        coarse=0.2, grain=0.03),
    "roof": Material(cover="building", low=(118, 116, 114, 122), high=(140, 137, 134, 142), fine=0.12, mid=0.16,
                     coarse=0.1, grain=0.035),
    "panel": Material(cover="paved", low=(34, 42, 66, 52), high=(50, 60, 88, 66), fine=0.08, mid=0.1, coarse=0.2,
                      grain=0.02),
    "film": Material(cover="building", low=(190, 194, 192, 196), high=(218, 220, 216, 214), fine=0.12, mid=0.15,
                     coarse=0.1, grain=0.03),
    "deck": Material(cover="paved", low=(138, 128, 112, 140), high=(170, 160, 142, 170), fine=0.15, mid=0.1,
                     grain=0.04),
    "bridge": Material(cover="road", low=(128, 126, 121, 128), high=(158, 155, 148, 156), fine=0.06, mid=0.12,
                       coarse=0.2, grain=0.025),
    "pool": Material(cover="water", low=(74, 164, 176, 26), high=(104, 190, 200, 34), grain=0.02),
    "sea": Material(cover="water", low=(72, 116, 110, 34), high=(24, 58, 72, 12), fine=0.05, mid=0.05, coarse=0.1,
                    grain=0.03, bump=0.3),
    "lake": Material(cover="water", low=(54, 74, 58, 28), high=(26, 46, 46, 12), fine=0.03, mid=0.04, coarse=0.15,
                     grain=0.025, bump=0.12),
    "river": Material(cover="water", low=(98, 100, 74, 48), high=(62, 72, 56, 26), fine=0.04, mid=0.08, coarse=0.2,
                      grain=0.025, bump=0.12),
    "flood water": Material(cover="water", low=(152, 128, 96, 84), high=(122, 102, 76, 52), fine=0.03, mid=0.08,
                            coarse=0.2, grain=0.02, bump=0.08),
    "foam": Material(cover="water", low=(104, 134, 126, 60), high=(248, 250, 246, 120), fine=0.5, mid=0.55, coarse=0.25,
                     grain=0.03, bump=0.3),
    "hull": Material(cover="paved", low=(200, 200, 198, 190), high=(226, 226, 222, 214), grain=0.02),
}  # fmt: skip
"""Name of each surface material -> how it looks."""
MATERIALS |= {f"treeless {name}": replace(MATERIALS[name], trees=0.0) for name in ("grass", "lawn", "yard", "scrub")}

COLORS: dict[str, Color] = {
    "red": (148, 78, 58, 132),
    "brown": (116, 90, 72, 118),
    "gray": (132, 130, 127, 132),
    "black": (56, 57, 60, 62),
    "white": (222, 220, 214, 216),
    "blue": (72, 104, 150, 112),
    "green": (78, 114, 84, 122),
    "beige": (190, 168, 138, 186),
    "orange": (186, 112, 64, 168),
    "yellow": (206, 178, 88, 196),
    "silver": (184, 186, 188, 180),
}
"""Colour words and what they look like from above."""

SEASON_GAIN: dict[str, Color] = {
    "spring": (0.96, 1.05, 0.92, 1.06),
    "summer": (1.0, 1.0, 1.0, 1.0),
    "autumn": (1.12, 0.99, 0.9, 0.92),
    "winter": (1.14, 0.98, 1.06, 0.86),
}
"""Gain on the colours of plants."""

CROWNS: dict[str, tuple[Color, Color]] = {
    "spring": ((44, 62, 30, 128), (92, 112, 58, 176)),
    "summer": ((34, 52, 28, 122), (78, 96, 52, 168)),
    "autumn": ((54, 54, 30, 112), (136, 104, 58, 160)),
    "winter": ((58, 56, 44, 92), (118, 108, 92, 140)),
}
"""Darkest and brightest crowns of broad-leaved trees; needle trees keep to the dark end."""
