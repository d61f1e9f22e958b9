"""Every recipe runs from its constants to a finished run that can be read back, in seconds."""

from __future__ import annotations

import importlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from backend.runtime import tf
from storage.trained_run import FinishedRun, find
from tools import kernel_audit
from training import initial_weights
from training.run import training_step_for
from training.schedule import LearningRate
from training.script import run
from training.settings import settings_from
from training.step import CLASSIFICATION

pytestmark = pytest.mark.tensorflow_only

COMMON = (
    "--dataset synthetic --images-per-class 12 --validation-fraction 0.2 --batch-size 32 "
    "--micro-batch-size 16 --epochs 1"
).split()
TRANSFORMER = (
    "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 8 --patch-size 8 "
    "--patch-stride 8"
)
# Recipe -> what makes it small.
SMALL = {
    "resnet_cifar10": "--number-of-layers 8 --filters 4",
    "mnist": TRANSFORMER.replace(" 8 --patch-stride 8", " 7 --patch-stride 7")
    + " --dataset synthetic_mnist",
    "pretrain_cifar100": TRANSFORMER + " --dataset synthetic100",
    "finetune_cifar10": TRANSFORMER,
    "keras_cifar100": TRANSFORMER.replace(" 8 --patch-stride 8", " 6 --patch-stride 6")
    + " --image-size 36 --head-hidden-dims 16",
    "visual_tokens_cifar10": "--convolution-filters 4 8 --convolution-strides 2 2 "
    "--number-of-tokens 3 --number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 8",
    # Its convolutional stem has no use for a PATCH_SIZE.
    "distilled_cifar10": TRANSFORMER.replace("--patch-size 8 ", ""),
}
# Recipe -> the flag that names a run it starts from, and the recipe of that run.
NEEDS = {
    "finetune_cifar10": ("--initial-run", "pretrain_cifar100"),
    "distilled_cifar10": ("--teacher-run", "resnet_cifar10"),
}


def flags_of(recipe, runs):
    flags = COMMON + SMALL[recipe].split() + ["--output-dir", str(runs)]
    if recipe in NEEDS:
        flag, other = NEEDS[recipe]
        # The folder of the other recipe's runs, as its constant has it.
        flags += [flag, str(runs / other)]
    return flags


def script_of(recipe):
    return importlib.import_module("recipes." + recipe)


def runs_made_in(runs, flags="", patch=0):
    """Return a function that makes a run of a recipe, when first asked for, and gives its folder.

    flags are further ones of all recipes, patch is the side and stride of those that cut patches.
    """
    made = {}

    def run_of(recipe):
        if recipe not in made:
            if recipe in NEEDS:
                run_of(NEEDS[recipe][1])
            more = flags
            for flag in ("--patch-size", "--patch-stride"):
                if patch and flag in SMALL[recipe]:
                    more += f" {flag} {patch}"
            made[recipe] = script_of(recipe).main(flags_of(recipe, runs) + more.split())
        return made[recipe]

    return run_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a recipe, made when first asked for: finished("mnist")."""
    return runs_made_in(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_a_recipe_leaves_a_run_whose_model_can_be_built_again(recipe, finished):
    run = FinishedRun(finished(recipe))
    assert run.settings["script"] == recipe
    dataset = run.dataset()
    answers = run.probabilities(dataset.x_test).argmax(axis=1)
    assert (answers == dataset.y_test).mean() == pytest.approx(run.results["test_accuracy"])
    assert run.class_names == list(dataset.class_names)


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_every_operation_of_a_recipe_has_a_directml_kernel(recipe, finished):
    folder = finished(recipe)
    script = script_of(recipe)
    settings = settings_from(vars(script), flags_of(recipe, folder.parent.parent))
    # What DirectML lacks does not depend on sizes, so that those of the small run will do.
    facts = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["dataset"]
    model = script.build_model(settings)(**facts)
    build_objective = getattr(script, "build_objective", lambda settings: CLASSIFICATION)
    step = training_step_for(model, settings, build_objective(settings), passes_at_once=1)
    audit = kernel_audit.audit_training_step(step, facts["image_shape"], facts["number_of_classes"])
    assert audit.runs > 100
    if kernel_audit.has_directml_kernels():
        assert audit.fallbacks + audit.prediction.fallbacks == []
    # Those that no DirectML has, wherever this test runs.
    kinds = set(audit.prediction.types).union(*(graph.types for _, _, graph in audit.parts))
    assert not {"Einsum", "RandomShuffle", "ImageProjectiveTransformV3"} & kinds


def test_the_audit_of_a_student_includes_its_teacher(finished, capsys):
    runs = finished("resnet_cifar10").parent.parent
    flags = flags_of("distilled_cifar10", runs) + ["--micro-batch-size", "0"]
    counts = []
    for more in ([], ["--teacher-run", str(runs / "nowhere")]):
        assert kernel_audit.audit_script("recipes.distilled_cifar10", *flags, *more) == 0
        text = capsys.readouterr().out
        assert ("objective was not audited" in text) == bool(more)
        step = next(line for line in text.split("\n") if line.startswith("training step"))
        counts.append([int(number) for number in step.split()[3:]])
    with_teacher, without = counts
    # A residual network of 8 layers has three blocks of two convolutions.
    assert all(more > less + 20 for more, less in zip(with_teacher, without))


def test_fine_tuning_starts_from_all_of_the_other_run_but_its_head(finished):
    pretrained = FinishedRun(finished("pretrain_cifar100"))
    script = script_of("finetune_cifar10")
    settings = settings_from(vars(script), flags_of("finetune_cifar10", pretrained.folder))
    build = script.build_model(settings)
    facts = dict(pretrained.settings["dataset"], number_of_classes=10)
    model = build(**facts)
    head = model.get_layer("logits").get_weights()
    initial_weights.start_from(model, pretrained.folder)
    compared = 0
    for layer in model.layers:
        if layer.name == "logits":
            np.testing.assert_array_equal(layer.get_weights()[0], head[0])
            continue
        for own, other in zip(
            layer.get_weights(), pretrained.model.get_layer(layer.name).get_weights()
        ):
            np.testing.assert_array_equal(own, other)
            compared += 1
    assert compared > 10


def test_fine_tuning_without_a_single_step_of_effect_keeps_the_pretrained_body(finished):
    """The constant is really read: at a vanishing rate the body stays that of the other run."""
    pretrained = finished("pretrain_cifar100")
    runs = pretrained.parent.parent
    flags = flags_of("finetune_cifar10", runs) + ["--learning-rate", "1e-12"]
    tuned = FinishedRun(script_of("finetune_cifar10").main(flags))
    assert tuned.settings["constants"]["INITIAL_RUN"] == str(pretrained)
    own, other = (
        initial_weights.body_weights(FinishedRun(f).model) for f in (tuned.folder, pretrained)
    )
    for name in other:
        for array, expected in zip(own[name], other[name]):
            np.testing.assert_allclose(array, expected, atol=1e-6)


def test_another_model_to_start_from_is_an_error_that_lists_every_difference(finished):
    folder = finished("pretrain_cifar100")
    script = script_of("finetune_cifar10")
    flags = flags_of("finetune_cifar10", folder.parent.parent)
    flags += "--number-of-layers 2 --mlp-hidden-dim 12".split()
    settings = settings_from(vars(script), flags)
    facts = FinishedRun(folder).settings["dataset"]
    with pytest.raises(ValueError) as error:
        initial_weights.start_from(script.build_model(settings)(**facts), folder)
    for word in ("INITIAL_RUN", "block_1: ", "[8, 12]", "block_2: ", "here, none there"):
        assert word in str(error.value)


def test_a_student_saves_nothing_of_its_teacher_and_names_its_run(finished):
    run = FinishedRun(finished("distilled_cifar10"))
    assert run.settings["constants"]["TEACHER_RUN"] == str(finished("resnet_cifar10"))
    assert {"class_logits", "distillation_logits"} <= {layer.name for layer in run.model.layers}
    assert "teacher" not in {layer.name for layer in run.model.layers}


def test_a_resumed_student_has_the_teacher_that_it_began_with(finished, tmp_path):
    runs = finished("resnet_cifar10").parent.parent
    script = script_of("distilled_cifar10")
    folder = script.main(flags_of("distilled_cifar10", runs))
    before = FinishedRun(folder)
    (folder / "results.json").unlink()
    # No flag but this one: the teacher's run is known from settings.json.
    assert script.main(["--resume", str(folder)]) == folder
    after = FinishedRun(folder)
    assert after.settings["constants"] == before.settings["constants"]
    assert after.results["test_accuracy"] == before.results["test_accuracy"]


@pytest.mark.parametrize("recipe", sorted(NEEDS))
def test_a_missing_run_to_start_from_is_named(recipe, tmp_path):
    flags = flags_of(recipe, tmp_path)
    with pytest.raises(ValueError) as error:
        script_of(recipe).main(flags)
    assert str(tmp_path / NEEDS[recipe][1]) in str(error.value)
    assert not (tmp_path / recipe).exists()


def test_a_run_is_found_by_its_folder_and_by_that_of_all_runs(finished, tmp_path):
    folder = finished("resnet_cifar10")
    assert find(folder) == find(folder.parent) == folder
    unfinished = tmp_path / "9999"
    unfinished.mkdir()
    (unfinished / "settings.json").write_text((folder / "settings.json").read_text())
    with pytest.raises(ValueError, match="not finished"):
        find(unfinished)
    with pytest.raises(ValueError, match="neither"):
        find(tmp_path)


def damaged_copy(folder, target, change):
    target.mkdir()
    for name in ("settings.json", "results.json", "weights.h5"):
        (target / name).write_bytes((folder / name).read_bytes())
    change(target)
    return target


def test_a_run_that_names_an_unknown_builder_runs_nothing(finished, tmp_path):
    def change(folder):
        text = (folder / "settings.json").read_text()
        (folder / "settings.json").write_text(text.replace('"resnet"', '"os.system"'))

    with pytest.raises(ValueError, match="os.system.*resnet"):
        FinishedRun(damaged_copy(finished("resnet_cifar10"), tmp_path / "run", change))


def test_damaged_weights_are_named(finished, tmp_path):
    def change(folder):
        (folder / "weights.h5").write_bytes(b"not a file of weights")

    with pytest.raises(ValueError, match="weights.h5"):
        FinishedRun(damaged_copy(finished("resnet_cifar10"), tmp_path / "run", change))


def test_other_images_than_those_of_the_run_are_refused(finished, tmp_path):
    def change(folder):
        text = (folder / "settings.json").read_text()
        (folder / "settings.json").write_text(text.replace('"synthetic"', '"synthetic_mnist"'))

    run = FinishedRun(damaged_copy(finished("resnet_cifar10"), tmp_path / "run", change))
    with pytest.raises(ValueError, match="image_shape"):
        run.dataset()


def test_classes_of_other_names_or_in_another_order_are_refused(finished, tmp_path):
    def change(folder):
        settings = json.loads((folder / "settings.json").read_text())
        settings["model"]["class_names"].reverse()
        (folder / "settings.json").write_text(json.dumps(settings))

    run = FinishedRun(damaged_copy(finished("resnet_cifar10"), tmp_path / "run", change))
    with pytest.raises(ValueError, match="class_names"):
        run.dataset()


def test_own_images_are_found_where_they_have_been_moved_to(own, own_npz, tmp_path):
    def change(folder):
        settings = json.loads((folder / "settings.json").read_text())
        settings["constants"]["DATASET"] = str(tmp_path / "gone" / own_npz.name)
        (folder / "settings.json").write_text(json.dumps(settings))

    run = FinishedRun(damaged_copy(own("resnet_cifar10"), tmp_path / "run", change))
    assert run.dataset(str(own_npz.parent)).image_shape == (20, 24, 1)
    with np.load(str(own_npz)) as arrays:
        arrays = dict(arrays, x_test=arrays["x_test"][::-1])
    np.savez(str(tmp_path / own_npz.name), **arrays)
    with pytest.raises(ValueError, match="other data: x_test differ"):
        run.dataset(str(tmp_path))


@pytest.mark.parametrize(
    "flag, value", [("dropout-rate", "1"), ("stochastic-depth-rate", "-1"), ("num-heads", "3")]
)
def test_visual_tokens_refuse_sizes_by_name(flag, value, tmp_path):
    flags = flags_of("visual_tokens_cifar10", tmp_path) + ["--" + flag, value]
    with pytest.raises(ValueError, match=flag.upper().replace("-", "_")):
        script_of("visual_tokens_cifar10").main(flags)


def test_the_paper_recipe_of_the_visual_tokens_is_the_documented_schedule():
    script = script_of("visual_tokens_cifar10")
    lines = script.__doc__.split("recipes.visual_tokens_cifar10 --optimizer")[1].split("\n\n")[0]
    settings = settings_from(vars(script), ("--optimizer" + lines).split())
    schedule = LearningRate(
        settings.SCHEDULE,
        settings.LEARNING_RATE,
        settings.EPOCHS,
        warmup_epochs=settings.WARMUP_EPOCHS,
        warmup_learning_rate=settings.WARMUP_LEARNING_RATE,
        decay_per_epoch=settings.DECAY_PER_EPOCH,
    )
    rates = [schedule.at(epoch / 400) for epoch in (0, 5, 6)]
    assert rates == pytest.approx([0.01, 0.16, 0.16 * 0.9875])
    assert (settings.BATCH_SIZE, settings.STOCHASTIC_DEPTH_RATE) == (2048, pytest.approx(0.1))
    # That of AdamW, as L2 in SGD, would take 8 % of every weight away in each step.
    assert settings.WEIGHT_DECAY == pytest.approx(4e-5)


def test_importing_a_recipe_loads_no_tensorflow_name():
    for recipe in SMALL:
        assert not any(value is tf for value in vars(script_of(recipe)).values())


@pytest.fixture(scope="module")
def own_npz(tmp_path_factory):
    """Grey images that are no squares, of classes with names."""
    random = np.random.RandomState(0)
    path = tmp_path_factory.mktemp("own") / "pets.npz"
    np.savez(
        str(path),
        x_train=random.randint(0, 256, (60, 20, 24)).astype(np.uint8),
        y_train=np.arange(60) % 3,
        x_test=random.randint(0, 256, (12, 20, 24)).astype(np.uint8),
        y_test=np.arange(12) % 3,
        class_names=np.array(["cat", "dog", "wild bird"]),
    )
    return path


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    """Pictures of many sizes and kinds, and files that are none."""
    random = np.random.RandomState(0)
    folder = tmp_path_factory.mktemp("own") / "pets"
    for name in ("birds", "cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number, mode in enumerate(("L", "LA", "RGB", "RGBA") * 4):
            shape = tuple(random.randint(16, 33, 2)) + (len(mode),)
            picture = Image.fromarray(random.randint(0, 256, shape).astype(np.uint8).squeeze())
            ending = "jpg" if mode in ("L", "RGB") and number > 8 else "png"
            picture.save(str(folder / name / f"{number}.{ending}"))
    (folder / "cats" / "broken.jpg").write_bytes(b"no picture")
    (folder / "dogs" / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def own(own_npz, tmp_path_factory):
    """A finished run of a recipe on own_npz, made when first asked for."""
    return runs_made_in(
        tmp_path_factory.mktemp("runs"),
        f"--dataset {own_npz} --image-size 0 --batch-size 8 --micro-batch-size 0",
        patch=4,
    )


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_own_images_train_every_recipe_by_their_own_facts(recipe, own):
    run = FinishedRun(own(recipe))
    assert run.class_names == ["cat", "dog", "wild bird"]
    assert run.image_shape == (20, 24, 1)
    dataset = run.dataset()
    assert np.bincount(dataset.y_train).tolist() == [12, 12, 12]
    assert run.settings["dataset"]["mean"] == pytest.approx([dataset.x_train.mean()])
    answers = run.probabilities(dataset.x_test)
    assert answers.shape == (12, 3)
    accuracy = (answers.argmax(axis=1) == dataset.y_test).mean()
    assert accuracy == pytest.approx(run.results["test_accuracy"])


def test_a_folder_of_pictures_of_all_kinds_trains_a_recipe(own_folder, tmp_path, capsys):
    flags = flags_of("visual_tokens_cifar10", tmp_path)
    flags += ["--dataset", str(own_folder), "--image-size", "16", "--batch-size", "16"]
    run = FinishedRun(script_of("visual_tokens_cifar10").main(flags))
    assert run.class_names == ["birds", "cats", "dogs"]
    assert run.image_shape == (16, 16, 3)
    text = capsys.readouterr().out
    assert "1 unreadable files skipped: " + os.path.join("cats", "broken.jpg") in text
    assert "1 files ignored" in text and os.path.join("dogs", "notes.txt") in text
    assert "grey images converted to colour" in text


@pytest.mark.parametrize(
    "recipe,dataset,image_size,words",
    [
        ("mnist", "own_npz", 0, ("PATCH_SIZE 7", "PATCH_STRIDE 7", "20 pixels", "IMAGE_SIZE")),
        ("keras_cifar100", "own_npz", 32, ("PATCH_SIZE 6", "32 pixels", "IMAGE_SIZE")),
        ("resnet_cifar10", "own_folder", 0, ("set IMAGE_SIZE",)),
        ("finetune_cifar10", "own_folder", 24, ("32 x 32 pixels", "24 x 24", "IMAGE_SIZE")),
        ("finetune_cifar10", "own_npz", 32, ("[8, 8, 1, 8] here, [8, 8, 3, 8] there",)),
        ("distilled_cifar10", "own_folder", 24, ("(32, 32, 3)", "(24, 24, 3)", "IMAGE_SIZE")),
    ],
)
def test_own_images_that_do_not_fit_are_one_line_that_names_the_constant(
    recipe, dataset, image_size, words, finished, request, capsys
):
    others = finished(NEEDS[recipe][1] if recipe in NEEDS else "resnet_cifar10").parent.parent
    flags = flags_of(recipe, others) + ["--dataset", str(request.getfixturevalue(dataset))]
    flags += ["--batch-size", "16", "--image-size", str(image_size)]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(lambda: script_of(recipe).main(flags))
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and line.startswith("error: ")
    for word in words:
        assert word in line, line
