"""What BSD's printed numbers say about one another."""

from __future__ import annotations

import pytest

from defenselib.papers.bsd import printed as bsd_printed
from defenselib.papers.kit import printed


@pytest.mark.slow
def test_printed_ders_follow_from_their_parts_but_for_three():
    checks = {key: bsd_printed.der_check(key) for key in bsd_printed.der_tables()}
    assert sum(map(len, checks.values())) == 189
    found = bsd_printed.misprints().set_index(["table", "dataset", "attack", "defense"])
    assert list(found.index) == [
        ("table-1", "gtsrb", "blend", "dbd"),
        ("table-1", "imagenet-30", "blend", "abl"),
        ("table-6", "cifar10", "blend", "bsd"),
    ]
    assert found["expected"].round(2).tolist() == [47.15, 43.7, 50.0]
    rows = printed.table("bsd", "table-1").loc[checks["table-1"].query("doubtful").index]
    assert rows["published"].tolist() == [46.9, 42.6] and rows["note"].str.contains("Eq. 12").all()


def test_the_searched_baselines_print_the_best_of_their_search():
    best = bsd_printed.best_settings()
    assert len(best) == 28
    # Table 2 prints 99.5, Table 19 prints 99.6 for the same run.
    assert best.loc[~best["agrees"], ["table", "defense", "attack"]].to_numpy().tolist() == [
        ["table-2", "dbd", "narcissus"]
    ]
    assert bsd_printed.best_setting("table-2", "nad", "sig") == {"beta": "1e10"}
    assert bsd_printed.best_setting("table-2", "bsd", "sig") == {}
