"""The benchmark runs; how fast is no business of a test."""

import pytest
import torch

from defenselib.bench import images as bench


@pytest.mark.slow
def test_every_row_counts_images(monkeypatch):
    monkeypatch.setattr(bench, "rate", lambda work, device: work())
    monkeypatch.setattr(bench, "IMAGES", 512)
    threads = torch.get_num_threads()
    rows = bench.measure("resnet10", 8, "fp32", torch.device("cpu"), 1)
    torch.set_num_threads(threads)
    assert {"poison: badnets", "poison: blend", "poison: refool", "supervised training", "ranking pass"} < set(rows)
    assert all(count > 0 for count in rows.values())
    assert rows["MixMatch (64 + 64 x 2 views)"] == 256  # two iterations of 64 labelled and 64 unlabelled images
