"""The list of runs says of each what it has reached, and survives whatever lies there."""

from __future__ import annotations

import json

import pytest

from storage.run_folder import RunFolder
from tools import runs


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


def begun(folder, script, time, **constants):
    run = RunFolder(folder / script / time)
    run.path.mkdir(parents=True)
    known = {"DATASET": "cifar10", "DATA_DIR": "data", "IMAGE_SIZE": 0, "IMAGES_PER_CLASS": 0}
    known.update(EPOCHS=9, SEED=3)
    content = {
        "script": script,
        "command": f"python {script}.py",
        "constants": dict(known, **constants),
        "defaults": {},
        "model": {"builder": "resnet", "arguments": {}},
        "dataset": {"image_shape": [32, 32, 1], "number_of_classes": 2, "mean": [0], "std": [1]},
        "versions": {},
        "git_commit": "",
    }
    run.settings_json.write_text(json.dumps(content), encoding="utf-8")
    return run


def trained(run, *accuracies):
    rows = [dict(epoch=e + 1, validation_accuracy=a) for e, a in enumerate(accuracies)]
    run.write_history(rows)
    run.checkpoint.mkdir()
    (run.checkpoint / "latest.npz").touch()
    return run


def with_results(run, test_accuracy, epochs, stand_in=False):
    counts = ("parameters", "best_epoch", "images_seen", "seed")
    numbers = ("test_loss", "train_minutes", "images_per_second")
    results = dict.fromkeys(counts, 1)
    results.update(dict.fromkeys(numbers, 1.0))
    results.update(dict.fromkeys(("device", "runtime", "finished"), ""))
    results.update(test_top5_accuracy=1.0, validation_accuracy=0.5, test_accuracy=test_accuracy)
    run.write_results(dict(results, dataset="cifar10", stand_in=stand_in, epochs=epochs))


def finished(run):
    with_results(run, 0.5, 2, stand_in=True)
    run.report_html.touch()


def test_every_state_is_listed_the_oldest_first(folder, capsys):
    begun(folder, "a", "2026-01-05")
    trained(begun(folder, "a", "2026-01-04"), 0.25, 0.5, 0.375)
    finished(trained(begun(folder, "b", "2026-01-01"), 0.25, 0.5))
    running = trained(begun(folder, "b", "2026-01-02"), 0.1)
    unreported = trained(begun(folder, "b", "2026-01-03"), 0.1)
    with_results(unreported, 0.25, 1)
    with running.locked():
        found = runs.main([str(folder)])
    assert found == [
        ("b/2026-01-01", "cifar10 (stand-in)", "2 of 9", "50.00 %", "3", "finished"),
        ("b/2026-01-02", "cifar10", "1 of 9", "10.00 % (validation)", "3", "running"),
        (
            "b/2026-01-03",
            "cifar10",
            "1 of 9",
            "25.00 %",
            "3",
            "stopped before its report: --resume writes it",
        ),
        (
            "a/2026-01-04",
            "cifar10",
            "3 of 9",
            "50.00 % (validation)",
            "3",
            "stopped: --resume goes on",
        ),
        ("a/2026-01-05", "cifar10", "0 of 9", "-", "3", "stopped before its first checkpoint"),
    ]
    assert "5 runs, 1 finished." in capsys.readouterr().out


def test_a_script_and_a_run_are_folders_of_runs_too(folder):
    run = begun(folder, "a", "2026-01-05")
    for path in (run.path, run.path.parent):
        assert [row.run for row in runs.main([str(path)])] == ["a/2026-01-05"]
    with pytest.raises(ValueError, match="has no runs in it"):
        runs.main([str(folder / "nothing")])


def test_listing_leaves_nothing_behind(folder):
    run = begun(folder, "a", "2026-01-05")
    runs.main([str(folder)])
    assert [path.name for path in run.path.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    "name, text",
    [
        ("settings.json", "[1]"),
        ("settings.json", "{"),
        ("results.json", "[]"),
        ("results.json", '{"test_accuracy": "many"}'),
        ("results.json", '{"test_accuracy": null, "epochs": 1}'),
        ("history.csv", "epoch\n1\n"),
        ("history.csv", "epoch,validation_accuracy\n1,x\n"),
    ],
)
def test_a_damaged_run_says_so_and_hides_no_other(folder, name, text):
    broken = begun(folder, "a", "2026-01-05")
    finished(trained(begun(folder, "a", "2026-01-06"), 0.5))
    (broken.path / name).write_text(text)
    rows = runs.main([str(folder)])
    assert rows[0].state.startswith("cannot be read: ") and rows[1].state == "finished"


def test_foreign_texts_do_not_reach_the_terminal_as_commands(folder, capsys):
    begun(folder, "a", "2026-01-05", DATASET="\x1b[31mred\nerror: none")
    runs.main([str(folder)])
    said = capsys.readouterr().out
    assert "\x1b" not in said and "red error: none" in said
