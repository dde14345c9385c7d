"""How an image of any size becomes one of a data set's: as a whole, or by its shorter side and a crop of the middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defenselib.data.sources.images import Content, Place, damaged, opened
from defenselib.errors import check_range

SMALLEST, LARGEST = 1, 4096  # sides in pixels


@dataclass(frozen=True)
class Preparation:
    """side: of the square image, in pixels; None: the images' own (see `images.pick_size`). shorter: length to which
    the shorter side is brought, the other in proportion, before the square in the middle is cut out (a row or column
    more above or left where it cannot be in the middle); None: the image as a whole is brought to the square.

    Bilinear, with antialiasing, to whole grey levels: as Pillow and torchvision do it for a picture.
    """

    side: int | None = None
    shorter: int | None = None

    def __post_init__(self) -> None:
        if self.side is not None:
            check_range("image_size", self.side, SMALLEST, LARGEST)
        if self.shorter is not None:
            check_range("shorter", self.shorter, self.side or SMALLEST, LARGEST)

    @property
    def crops(self) -> bool:
        return self.side is not None and self.shorter is not None

    def of(self, place: Place, content: Content) -> NDArray[np.uint8]:
        """The square in the middle, uint8 (side, side, 3). Errors: DataError for a damaged image."""
        assert self.side is not None and self.shorter is not None
        image = opened(place, content)
        try:
            image = image.convert("RGB")
            width, height = image.size
            least = min(width, height)
            # The other side is cut to whole pixels, the corner rounded, as torchvision's Resize and CenterCrop do it.
            size = tuple(self.shorter if side == least else self.shorter * side // least for side in (width, height))
            if size != image.size:
                image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
            left, top = (round((side - self.side) / 2) for side in size)
            return np.asarray(image.crop((left, top, left + self.side, top + self.side)))
        except Exception as error:  # Pillow raises whatever its decoders raise
            raise damaged(place, error) from error
