"""Turn a picture upright, and turn what was found on it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import Image as Pillow
from PIL.Image import Transpose
from transom_plugin import Image

Corner = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the page as submitted becomes upright: mirrored left to right first, then rotated clockwise."""

    rotation: int = 0
    mirrored: bool = False


EXIF: Final = {
    2: Orientation(0, mirrored=True),
    3: Orientation(180),
    4: Orientation(180, mirrored=True),
    5: Orientation(270, mirrored=True),
    6: Orientation(90),
    7: Orientation(90, mirrored=True),
    8: Orientation(270),
}
"""By the value of EXIF's tag Orientation (CIPA DC-008, 4.6.5.1.6); 1 is upright."""

# Pillow counts its rotations against the clock.
ROTATIONS: Final = {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Upright pixels, and how they got upright."""

    image: Image
    mirrored: bool = False
    dpi: int | None = None
    """Resolution where it is known rather than guessed."""


def upright(image: Pillow.Image, orientation: Orientation) -> Pillow.Image:
    """Return the picture as a reader holds it."""
    if orientation.mirrored:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    rotation = ROTATIONS.get(orientation.rotation)
    return image if rotation is None else image.transpose(rotation)


def as_submitted(picture: Picture, bounds: tuple[int, int, int, int]) -> tuple[float, ...]:
    """Map a box of upright pixels (left, top, right, bottom) to a polygon on the page as submitted."""
    left, top, right, bottom = bounds
    width, height = picture.image.width, picture.image.height
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    turned = [_turned_back(x / width, y / height, picture) for x, y in corners]
    if picture.mirrored:
        # A mirror turns clockwise into its opposite.
        turned[1], turned[3] = turned[3], turned[1]
    return tuple(round(min(1.0, max(0.0, value)), 6) for corner in turned for value in corner)


def _turned_back(x: float, y: float, picture: Picture) -> Corner:
    if picture.image.rotation == 90:
        x, y = y, 1 - x
    elif picture.image.rotation == 180:
        x, y = 1 - x, 1 - y
    elif picture.image.rotation == 270:
        x, y = 1 - y, x
    return (1 - x if picture.mirrored else x), y
