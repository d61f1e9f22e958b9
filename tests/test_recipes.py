"""Every recipe runs from its constants to a finished run that can be read back, in seconds."""

import importlib
import json

import numpy as np
import pytest
from PIL import Image

import kernel_audit
import transfer
from command_line import settings_from
from finished_runs import FinishedRun, find
from runtime import tf
from training import training_step_for

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
    "distilled_cifar10": TRANSFORMER,
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a recipe, made when first asked for: finished("mnist")."""
    runs = tmp_path_factory.mktemp("runs")
    made = {}

    def run_of(recipe):
        if recipe not in made:
            if recipe in NEEDS:
                run_of(NEEDS[recipe][1])
            made[recipe] = script_of(recipe).main(flags_of(recipe, runs))
        return made[recipe]

    return run_of


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
    if hasattr(script, "build_objective"):
        step = training_step_for(model, settings, script.build_objective(settings))
    else:
        step = training_step_for(model, settings)
    audit = kernel_audit.audit_training_step(step, facts["image_shape"], facts["number_of_classes"])
    assert audit.runs > 100
    if kernel_audit.has_directml_kernels():
        assert audit.fallbacks + audit.prediction.fallbacks == []
    # Those that no DirectML has, wherever this test runs.
    kinds = set(audit.prediction.types).union(*(graph.types for _, _, graph in audit.parts))
    assert not {"Einsum", "RandomShuffle", "ImageProjectiveTransformV3"} & kinds


def test_the_audit_of_a_student_includes_its_teacher(finished, capsys):
    runs = finished("resnet_cifar10").parent.parent
    flags = flags_of("distilled_cifar10", runs)
    counts = []
    for more in ([], ["--teacher-run", str(runs / "nowhere")]):
        assert kernel_audit.audit_script("recipes.distilled_cifar10", *flags, *more) == 0
        text = capsys.readouterr().out
        assert ("objective was not audited" in text) == bool(more)
        step = next(line for line in text.split("\n") if line.startswith("one step"))
        counts.append([int(number) for number in step.split()[2:]])
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
    transfer.start_from(model, pretrained.folder)
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
    own, other = (transfer.body_weights(FinishedRun(f).model) for f in (tuned.folder, pretrained))
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
        transfer.start_from(script.build_model(settings)(**facts), folder)
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


def test_the_paper_recipe_of_the_visual_tokens_is_the_documented_schedule():
    from optimization import LearningRate

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


def test_importing_a_recipe_loads_no_tensorflow_name():
    for recipe in SMALL:
        assert not any(value is tf for value in vars(script_of(recipe)).values())


def test_own_images_train_every_recipe_by_their_own_facts(tmp_path):
    random = np.random.RandomState(0)
    for name, channels in (("cats", 1), ("dogs", 3), ("birds", 3)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(14):
            pixels = random.randint(0, 256, (20, 30, channels)).astype(np.uint8).squeeze()
            path = tmp_path / "pets" / name / "{}.png".format(number)
            Image.fromarray(pixels).save(str(path))
    (tmp_path / "pets" / "cats" / "broken.jpg").write_bytes(b"no picture")
    flags = flags_of("visual_tokens_cifar10", tmp_path / "runs")
    flags += ["--dataset", str(tmp_path / "pets"), "--image-size", "16", "--batch-size", "16"]
    run = FinishedRun(script_of("visual_tokens_cifar10").main(flags))
    assert run.class_names == ["birds", "cats", "dogs"]
    assert run.image_shape == (16, 16, 3)
    assert any("broken.jpg" in note for note in run.dataset().notes)
