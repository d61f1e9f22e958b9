"""The contenders of the benchmarks are one network, and a failing one stops its benchmark."""

from __future__ import annotations

import importlib.util
import json
import os
import time

import pytest

from benchmarks import micro_batches, throughput, timing

pytestmark = pytest.mark.tensorflow_only


def failing():
    raise ValueError("no\nluck")


def functions():
    return {"leave": lambda: os._exit(3), "fail": failing, "process": os.getpid}


def test_contenders_agree_and_are_measured(tmp_path):
    figures = tmp_path / "figures.json"
    tiny = "--batches 4 --rounds 1 --seconds 0 --no-compile --json".split()
    # Before it times them it checks that all have the same parameters and logits.
    throughput.main(tiny + [str(figures)])
    rows = json.loads(figures.read_text())["rows"]
    assert [row["kind"] for row in rows] == ["training", "inference"]
    contenders = {"ours", "stock Keras"}
    if importlib.util.find_spec("torch"):
        contenders.add("PyTorch eager")
    for row in rows:
        assert set(row["images_per_second"]) == contenders
        assert all(0 < share < 1 for share in row["share_of_ceiling"].values())


@pytest.mark.parametrize("parameters, logits", [(2, 1.0), (1, 1.1)])
def test_another_network_is_no_contender(parameters, logits):
    same = {"parameters": 1, "inference": [1.0]}
    other = {"parameters": parameters, "inference": [logits]}
    throughput.check_same_network({"ours": same.get, "twin": same.get})
    with pytest.raises(AssertionError):
        throughput.check_same_network({"ours": same.get, "twin": other.get})


def test_micro_batches_are_measured(monkeypatch, tmp_path):
    asked = []

    class Contender:
        def __init__(self, name, factory, size, at_once):
            assert at_once == 1
            asked.append(size)

        def __call__(self, function):
            return {"images_per_second": 100.0 * len(asked), "megabytes": 1.0}

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    monkeypatch.setattr(timing, "Contender", Contender)
    figures = tmp_path / "figures.json"
    micro_batches.main(
        ["--sizes", "16", "0", "--at-once", "1", "--rounds", "3", "--json", str(figures)]
    )
    assert asked == 3 * [16, 0]
    rows = json.loads(figures.read_text())["rows"]
    assert {size: row["images_per_second"] for size, row in rows.items()} == {
        "16": 300.0,
        "512": 400.0,
    }


def test_a_contender_is_a_process_of_its_own_that_ends():
    with timing.Contender("one", __name__ + ":functions") as contender:
        process = contender("process")
        assert process != os.getpid() and contender("process") == process
        began = time.perf_counter()
    assert time.perf_counter() - began < 5
    assert not contender._process.is_alive()


@pytest.mark.parametrize(
    "factory, call, reason",
    [
        ("functions", "fail", "^one failed: ValueError: no luck$"),
        ("functions", "leave", "^one failed: its process ended with code 3$"),
        ("failing", "", "^one failed: ValueError: no luck$"),
    ],
)
def test_a_failing_contender_is_one_line(factory, call, reason):
    with pytest.raises(SystemExit, match=reason):
        with timing.Contender("one", f"{__name__}:{factory}") as contender:
            contender(call)
