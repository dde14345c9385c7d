"""The benchmark runs; how fast is no business of a test."""

import json

import pytest
import torch
import typer

from defenselib.bench import plain, steps
from defenselib.bench.__main__ import main
from defenselib.bench.loops import Size
from defenselib.errors import UnknownNameError


def test_the_command_prints_every_loop_asked_for_and_writes_it(tmp_path, capsys):
    output = tmp_path / "bench.json"
    threads = torch.get_num_threads()
    main(seconds=0, processes=0, loop=["BSD: altruist"], output=output, device="cpu")
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "BSD: altruist" in printed and "captured: not measured: no CUDA device" in printed
    found = json.loads(output.read_text())
    assert found["machine"]["cpu"] and found["profile"] == "demo" and found["size"]["model"] == "resnet10"
    row = found["loops"]["BSD: altruist"]
    assert row["eager"] > 0 and row["captured"] == "not measured: no CUDA device"
    assert row["eager_together"] == "not measured"


def test_an_unknown_loop_or_profile_is_named():
    with pytest.raises(typer.BadParameter, match="BSD: altruist"):
        main(seconds=0, processes=0, loop=["BSD: altruis"], device="cpu")
    with pytest.raises(typer.BadParameter, match="laptop"):
        main(profile="labtop", processes=0, device="cpu")


@pytest.mark.slow
def test_several_processes_measure_at_a_time():
    with steps.Crowd(2) as crowd:
        rate = crowd.steps_a_second("DBD: linear", Size("resnet10", 8, "fp32", 4, 4, 4), "cpu", 0)
        assert isinstance(rate, float) and rate > 0
        with pytest.raises(UnknownNameError):
            crowd.steps_a_second("nothing", Size(), "cpu", 0)


def test_a_ratio_is_of_medians_in_alternation() -> None:
    asked = []

    def measure(way: str) -> float:
        asked.append(way)
        return {"plain": [4.0, 6.0, 100.0], "here": [2.0, 1.0, 3.0]}[way][(len(asked) - 1) // 2]

    assert plain.ratio(measure, 3) == {"plain": 6.0, "here": 2.0, "ratio": 3.0}
    assert asked == ["plain", "here"] * 3


def test_both_ways_train_a_network() -> None:
    for way in plain.WAYS:
        assert plain.seconds(way, 1, Size("resnet10", 8, "fp32", 8, 8, 8)) > 0
