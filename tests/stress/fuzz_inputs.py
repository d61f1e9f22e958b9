"""Feed generated bad inputs to a training script, and count how it takes them.

    python -m tests.stress.fuzz_inputs --inputs 1000

Kinds: .npz data sets, image folders, checkpoints, settings.json, weights, flags. Each input is one
command, run in this process up to its first training step; an input that gets there was valid in
spite of its mutation and does not count. All others must end, within a time limit, with exit code
2 and one line that names the file or the flag, and leave nothing behind that was not there before.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile

import numpy as np
from PIL import Image

import train_cifar10
from backend.runtime import keras
from training.script import run
from training.settings import script_constants
from training.trainer import Trainer

LIMIT_SECONDS = 30
TINY = (
    "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 8 --head-hidden-dims 8 "
    "--batch-size 8 --epochs 1 --patch-size 8 --patch-stride 8 --augmentations random_flip"
).split()
WORDS = [
    *"abc -1 0 -0.0 1e400 nan inf -inf 1.5 99999999999999999999 0x10 1e-400 None True []".split(),
    *"../.. /dev/null /dev/zero ü☃ mixup(alpha=-1) random_flip(1,2,3) __import__('os') %s".split(),
    *["", " ", "a" * 5000, "two words", "{0}", "\n", "random_crop(padding=4", "lambda:0"],
]
JUNK = WORDS + [None, True, -1, 0, 2**40, 1e308, float("nan"), [], {}, [[]], ["a", 1], {"a": 1}]
# Words that mean something here, and so would train or download.
OPEN_ENDED = ("DATA_DIR", "OUTPUT_DIR", "DML_VISIBLE_DEVICES")


class Accepted(BaseException):
    """The input turned out to be valid."""


class Hang(BaseException):
    """The input took longer than LIMIT_SECONDS."""


class Fuzzer:
    """Templates of valid inputs in a folder, and the mutations of each kind."""

    def __init__(self, folder: pathlib.Path, seed: int):
        self.random = random.Random(seed)
        self.folder = folder
        self.valid = folder / "valid.npz"
        draw = np.random.RandomState(0)
        self.arrays = {
            "x_train": draw.randint(0, 256, (40, 16, 16, 3)).astype(np.uint8),
            "y_train": np.arange(40, dtype=np.int64) % 2,
            "x_test": draw.randint(0, 256, (8, 16, 16, 3)).astype(np.uint8),
            "y_test": np.arange(8, dtype=np.int64) % 2,
        }
        np.savez(str(self.valid), **self.arrays)
        self.start = ["--dataset", str(self.valid), "--output-dir", str(folder / "output")] + TINY
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self.run = train_cifar10.main(self.start).rename(folder / "run")
        shutil.rmtree(str(folder / "output"))

    # Each returns the command, and the names of which its error has to say one.

    def npz(self):
        path = self._new("data.npz")
        if self.random.random() < 0.5:
            path.write_bytes(self._damaged(self.valid.read_bytes()))
        else:
            arrays = dict(self.arrays)
            name = self.random.choice(sorted(arrays))
            arrays[name] = self._other_array(arrays[name])
            if arrays[name] is None:
                del arrays[name]
            with open(str(path), "wb") as file:
                self.random.choice([np.savez, np.savez_compressed])(file, **arrays)
        return ["--dataset", str(path)] + self.start[2:], ["data.npz", "BATCH_SIZE", "validation"]

    def images(self):
        root = self._new("pictures")
        for name in self.random.choice([["cat", "dog"], ["cat"], ["cat", "..dog"], [], ["a", "b"]]):
            (root / name).mkdir(parents=True)
            for number in range(self.random.randint(0, 20)):
                self._picture(root / name / f"{number}.{self.random.choice(ENDINGS)}")
        root.mkdir(exist_ok=True)
        return ["--dataset", str(root)] + self.start[2:], ["pictures", "BATCH_SIZE", "validation"]

    def checkpoint(self):
        folder = self._stopped_run()
        for path in (folder / "checkpoint").iterdir():
            if self.random.random() < 0.5:
                path.write_bytes(self._damaged(path.read_bytes()))
            else:
                self._other_member(path)
        return ["--resume", str(folder)], [folder.name]

    def settings(self):
        folder = self._stopped_run()
        path = folder / "settings.json"
        text = path.read_text()
        if self.random.random() < 0.3:
            path.write_bytes(self._damaged(text.encode()))
        else:
            saved = json.loads(text)
            self._mutate(saved)
            path.write_text(json.dumps(saved))
        return ["--resume", str(folder)], [folder.name] + self._flag_names()

    def weights(self):
        folder = self._copy_of_run()
        path = folder / self.random.choice(["weights.h5"] * 3 + ["settings.json"])
        path.write_bytes(self._damaged(path.read_bytes()))
        return self.start + ["--initial-run", str(folder)], [folder.name, "INITIAL_RUN"]

    def flags(self):
        constants = [c for c in CONSTANTS if c.name not in OPEN_ENDED]
        chosen = self.random.choice(constants)
        flag = chosen.flag
        if self.random.random() < 0.1:
            flag = self.random.choice(["--", "--no-such-flag", flag + "s", flag.upper(), "-x"])
        words = [self.random.choice(WORDS) for _ in range(self.random.choice([1, 1, 1, 0, 2]))]
        names = [word for word in words if len(word) > 2]
        if self.random.random() < 0.5:
            words = [flag + "=" + " ".join(words)]
        else:
            words = [flag] + words
        names += [flag, chosen.name, chosen.name.lower(), chosen.name.replace("_", " ").lower()]
        names += words + ["augmentation", "data set", "is larger than", "unrecognized"]
        return self.start + words, names

    def _new(self, name: str) -> pathlib.Path:
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(str(path))
        elif os.path.lexists(str(path)):
            path.unlink()
        return path

    def _copy_of_run(self) -> pathlib.Path:
        folder = self._new("copy_of_run")
        shutil.copytree(str(self.run), str(folder))
        return folder

    def _stopped_run(self) -> pathlib.Path:
        folder = self._copy_of_run()
        (folder / "results.json").unlink()
        return folder

    def _damaged(self, content: bytes) -> bytes:
        draw, content = self.random, bytearray(content)
        for _ in range(draw.choice([1, 1, 3, 30])):
            kind, place = draw.randrange(6), draw.randrange(len(content) + 1)
            if kind == 0:
                del content[place:]
            elif kind == 1:
                content[place : place + 1] = bytes([draw.randrange(256)])
            elif kind == 2:
                content[place:place] = bytes(draw.randrange(256) for _ in range(20))
            elif kind == 3:
                del content[place : place + draw.randrange(1, 200)]
            elif kind == 4:
                content[-30:] = bytes(draw.randrange(256) for _ in range(30))
            else:
                content = bytearray(draw.choice([b"", b"PK\3\4", b"{}", b"[" * 50000, b"\0" * 999]))
        return bytes(content)

    def _other_array(self, array):
        draw = self.random
        return draw.choice(
            [
                lambda: None,
                lambda: array.astype(draw.choice(["f4", "f8", "c8", "S3", "U2", "M8[s]", "?"])),
                lambda: array.astype(object),
                lambda: array[..., None],
                lambda: array[:0],
                lambda: array[:1],
                lambda: array[:-1],
                lambda: array.reshape(-1),
                lambda: array.astype(np.int64) - draw.choice([1, 5]),
                lambda: array.astype(np.int64) * draw.choice([7, 2**40]),
                lambda: np.zeros_like(array),
                lambda: np.array(5),
                lambda: np.zeros(3, dtype=[("a", "i4"), ("b", "f4")]),
                lambda: np.full(array.shape, np.nan),
            ]
        )()

    def _other_member(self, path: pathlib.Path) -> None:
        """Write a sound archive with one member of another content."""
        with np.load(str(path), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        name = self.random.choice(sorted(arrays))
        if name == "state" or self.random.random() < 0.4:
            state = json.loads(str(arrays["state"][()]))
            self._mutate(state)
            arrays["state"] = np.array(json.dumps(state))
        else:
            arrays[name] = self._other_array(arrays[name])
            if arrays[name] is None:
                del arrays[name]
        with open(str(path), "wb") as file:
            self.random.choice([np.savez, np.savez, np.savez_compressed])(file, **arrays)
        if self.random.random() < 0.1:
            with zipfile.ZipFile(str(path), "a") as archive:
                archive.writestr("../../outside.npy", b"no")

    def _mutate(self, tree) -> None:
        """Replace, delete or add one thing anywhere in what a JSON file holds."""
        while True:
            keys = sorted(tree) if isinstance(tree, dict) else list(range(len(tree)))
            if not keys:
                return
            key = self.random.choice(keys)
            if isinstance(tree[key], (dict, list)) and tree[key] and self.random.random() < 0.8:
                tree = tree[key]
                continue
            kind = self.random.randrange(4)
            if kind == 0:
                del tree[key]
            elif kind == 1 and isinstance(tree, dict):
                tree[self.random.choice(["", "x", "SPEED", key + "_"])] = self.random.choice(JUNK)
            else:
                tree[key] = self.random.choice(JUNK)
            return

    def _picture(self, path: pathlib.Path) -> None:
        kind = self.random.randrange(8)
        if kind == 0 and hasattr(os, "mkfifo"):
            os.mkfifo(str(path))
        elif kind == 1 and hasattr(os, "symlink"):
            os.symlink(self.random.choice(["/etc/passwd", str(self.valid), "loop"]), str(path))
        elif kind == 2:
            # A header that promises 60,000 x 60,000 pixels.
            path.write_bytes(b"BM" + bytes(16) + np.int32([60000, 60000]).tobytes() + bytes(30))
        else:
            size = self.random.choice([16, 16, 16, 3, 200])
            content = io.BytesIO()
            Image.new(self.random.choice(["RGB", "L", "P"]), (size, size)).save(content, "PNG")
            content = content.getvalue()
            path.write_bytes(content if kind == 3 else self._damaged(content))

    @staticmethod
    def _flag_names():
        return [name for c in CONSTANTS for name in (c.name, c.name.lower())] + ["augmentation"]


ENDINGS = ("png", "jpg", "gif", "webp", "bmp", "txt")
KINDS = ("npz", "images", "checkpoint", "settings", "weights", "flags")
CONSTANTS = script_constants(vars(train_cifar10))


def outcome(command):
    """Run a command; return exit code (or "accepted", "hang", a traceback) and its last line."""
    error = io.StringIO()
    if hasattr(signal, "alarm"):
        signal.alarm(LIMIT_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            run(lambda: train_cifar10.main(command))
        return "accepted", ""
    except Accepted:
        return "accepted", ""
    except Hang:
        return "hang", ""
    except SystemExit as ended:
        return ended.code, error.getvalue().strip()
    except BaseException:
        return "traceback", traceback.format_exc(limit=-3)
    finally:
        if hasattr(signal, "alarm"):
            signal.alarm(0)


def fault(code, text, names, folder: pathlib.Path) -> str:
    """Return what is wrong with the way that an input was refused, or ""."""
    if code != 2:
        return f"exit code {code}: {text}"
    if "\n" in text or "Traceback" in text:
        return f"more than a line: {text}"
    if not any(str(name) in text for name in names if name):
        return f"names neither file nor flag: {text}"
    rest = [str(path) for path in folder.glob("**/writing-*")]
    rest += [str(path) for path in (folder / "output").glob("*/*")]
    return f"left behind: {', '.join(rest)}" if rest else ""


def main() -> None:
    """Generate, feed and count; exit code 1 if any input was taken badly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000, help="bad inputs to be refused")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    # As if the user had chosen: here the script is called after TensorFlow was imported.
    os.environ.setdefault("DML_VISIBLE_DEVICES", "0")
    began = time.time()
    bad, accepted, faults = collections.Counter(), collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        fuzzer = Fuzzer(folder, options.seed)
        Trainer.fit = lambda *arguments: accept()
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, lambda *arguments: hang())
        while sum(bad.values()) < options.inputs:
            kind = options.kinds[sum((bad + accepted).values()) % len(options.kinds)]
            command, names = getattr(fuzzer, kind)()
            code, text = outcome(command)
            keras.backend.clear_session()
            if code == "accepted":
                accepted[kind] += 1
            else:
                bad[kind] += 1
                problem = fault(code, text, names, folder)
                if problem:
                    faults.append(kind)
                    shown = [word if len(word) < 200 else word[:50] + "..." for word in command]
                    print(f"FAULT {kind}: {shown}\n  {problem[:1500]}", flush=True)
            if (folder / "output").exists():
                shutil.rmtree(str(folder / "output"))
    print(f"{time.time() - began:.0f} s on {sys.version.split()[0]}")
    for kind in options.kinds:
        print(
            f"  {kind:<10} {bad[kind]:>4} bad inputs, {faults.count(kind):>3} of them taken "
            f"badly; {accepted[kind]:>4} valid mutations"
        )
    print(f"{sum(bad.values())} bad inputs, {len(faults)} taken badly")
    sys.exit(bool(faults))


def accept():
    """End a command that is about to train."""
    raise Accepted


def hang():
    """End a command that takes too long."""
    raise Hang


if __name__ == "__main__":
    main()
