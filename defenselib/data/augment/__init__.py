"""What is done to a batch of images while a network learns from it."""

from defenselib.data.augment.crop_flip import Augment

__all__ = ["Augment"]
