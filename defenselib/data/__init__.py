"""Data sets as uint8 tensors: `load_dataset`, `info`, and what is known of them."""

from defenselib.data.info import DatasetInfo, available, digests, source_of
from defenselib.data.load import info, load_dataset, search_path
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset, digest_of

__all__ = [
    "Dataset",
    "DatasetInfo",
    "ImageSet",
    "PoisonedDataset",
    "available",
    "digest_of",
    "digests",
    "info",
    "load_dataset",
    "search_path",
    "source_of",
]
