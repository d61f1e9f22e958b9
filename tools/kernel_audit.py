"""Which operations of a training step have no DirectML kernel, and how many operations there are.

    python -m tools.doctor --audit train_cifar10.py [flags of the script]

An operation without a kernel for the GPU runs on the CPU, and its tensors are copied there and
back, silently. TensorFlow knows which kernels are registered on a machine without a GPU too, so the
audit traces the step, as a training would, and compares: nothing is executed, no data is read.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections import Counter
from functools import partial
from typing import Any, Iterator, NamedTuple, Sequence

from backend import requirements
from backend.environment import PLUGIN
from backend.runtime import gpu_device_type, layer_precision, runtime_name, tf
from data_augmentations import mixes_labels
from datasets.catalogue import NAMED_DATASETS
from models.predictor import Predictor
from training.run import training_step_for
from training.settings import Settings, settings_from
from training.step import CLASSIFICATION, TrainingStep, class_weights_for

# The bodies of functions, branches and loops are looked into; these only name them.
_CALLS = set(
    "PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case "
    "StatelessCase".split()
)
# What the function is given, and what only orders other operations.
_NO_KERNEL_NEEDED = _CALLS | {"Placeholder", "NoOp"}
# Their kernels hand a tensor on as it is, or deal with its shape only.
_NOTHING_TO_COMPUTE = _NO_KERNEL_NEEDED | set(
    "Const Identity IdentityN StopGradient PreventGradient Reshape ExpandDims Squeeze Shape ShapeN "
    "Size Rank ReadVariableOp VarHandleOp BroadcastGradientArgs InvertPermutation Switch Merge "
    "Enter Exit NextIteration LoopCond".split()
)


class Operation(NamedTuple):
    """A type of operation, such as MatMul, with its dtypes, in one layer of the model."""

    type: str
    dtypes: tuple[str, ...]
    layer: str


class Fallback(NamedTuple):
    """An operation without a kernel for the GPU, and how many there are of it."""

    operation: Operation
    count: int


class GraphAudit(NamedTuple):
    """What one graph is made of. A function called twice counts twice, a loop's body once.

    traced: operations as Python wrote them down; runs: those left after TensorFlow's own
    simplification (constant folding and the like); launches: those of them that start work on a
    GPU, less reshapes, reads and what TensorFlow keeps in host memory, such as int32 shapes.
    """

    traced: int
    runs: int
    launches: int
    types: dict[str, int]  # what launches, by type
    fallbacks: list[Fallback]
    fallbacks_that_run: int


class Audit(NamedTuple):
    """A training step's graphs, each with how often it runs per step, and the prediction graph."""

    parts: list[tuple[str, int, GraphAudit]]
    prediction: GraphAudit

    @property
    def fallbacks(self) -> list[Fallback]:
        """The operations of the training step without DirectML kernel."""
        return [fallback for _, _, graph in self.parts for fallback in graph.fallbacks]

    @property
    def traced(self) -> int:
        """Operations per training step as traced."""
        return sum(times * graph.traced for _, times, graph in self.parts)

    @property
    def runs(self) -> int:
        """Operations per training step after TensorFlow's simplification."""
        return sum(times * graph.runs for _, times, graph in self.parts)

    @property
    def launches(self) -> int:
        """Operations per training step that start work on a GPU."""
        return sum(times * graph.launches for _, times, graph in self.parts)

    def text(self) -> str:
        """Return the audit as a table for people."""
        lines = [runtime_name(), "", "graph              per step  traced    run  on the GPU"]
        row = "{:<18} {:>8} {:>7} {:>6} {:>11}"
        for name, times, graph in self.parts:
            lines.append(row.format(name, times, graph.traced, graph.runs, graph.launches))
        if len(self.parts) > 1 or self.parts[0][1] > 1:
            lines.append(row.format("one step", "", self.traced, self.runs, self.launches))
        graph = self.prediction
        lines.append(row.format("prediction", "-", graph.traced, graph.runs, graph.launches))
        if not has_directml_kernels():
            lines += [
                "",
                "This TensorFlow has no DirectML kernels: only the counts mean something.",
            ]
            return "\n".join(lines)
        step = [graph for _, _, graph in self.parts]
        for name, graphs in (("training step", step), ("prediction", [self.prediction])):
            lines += [""] + _fallback_lines(name, graphs)
        return "\n".join(lines)


def _fallback_lines(name: str, graphs: list[GraphAudit]) -> list[str]:
    fallbacks = [fallback for graph in graphs for fallback in graph.fallbacks]
    if not fallbacks:
        return [f"Every operation of the {name} has a DirectML kernel."]
    count = sum(fallback.count for fallback in fallbacks)
    traced = sum(graph.traced for graph in graphs)
    lines = [
        f"{count} of {traced} operations of the {name} ({100 * count / traced:.1f} %) have no "
        f"DirectML kernel; {sum(graph.fallbacks_that_run for graph in graphs)} of them run.",
        "count  operation                      dtypes                layer",
    ]
    for (kind, dtypes, layer), count in fallbacks:
        row = "{:>5}  {:<30} {:<21} {}"
        lines.append(row.format(count, kind, ", ".join(dtypes), layer or "(no layer)"))
    return lines


def has_directml_kernels() -> bool:
    """Return whether this TensorFlow is one of the two with DirectML."""
    if tf.__version__.startswith("1."):
        return gpu_device_type() in {kernel.device_type for kernel in _all_kernels()}
    return PLUGIN in requirements.installed_packages()


def audit_training_step(
    training_step: TrainingStep,
    image_shape: Sequence[int],
    number_of_classes: int,
    soft_labels: bool = False,
) -> Audit:
    """Audit a training step, in the graphs it runs, and the prediction of its model.

    image_shape is (height, width, channels). With soft_labels the labels are those of mixup and
    cutmix, float32 (batch, number_of_classes), else int32 (batch,).
    """
    model = training_step.training_model
    layers = {module.name for module in model.submodules if hasattr(module, "name")}
    layers -= {model.name, training_step.model.name}
    parts = [
        (graph.name, graph.times, audit_function(graph.function, *graph.signature, layers=layers))
        for graph in training_step.graphs(image_shape, number_of_classes, soft_labels)
    ]
    predictor = Predictor(training_step.model, passes_at_once=1)
    pixels = tf.TensorSpec((predictor.batch_size,) + tuple(image_shape), tf.uint8)
    return Audit(parts, audit_function(predictor.graph, pixels, layers=layers))


def audit_function(function, *signature, layers=None) -> GraphAudit:
    """Audit the graph of a tf.function for arguments like these tf.TensorSpec.

    layers are the names that count as a layer where they stand in the name of an operation; None
    takes all name scopes.
    """
    concrete = function.get_concrete_function(*signature)
    traced = list(_operations(concrete.graph.as_graph_def(), layers))
    simplified = list(_operations(_simplified(concrete), layers))
    lacking = Counter(operation for operation, node in traced if not has_kernel(node))
    still_lacking = Counter(operation for operation, node in simplified if not has_kernel(node))
    # What only the simplification has brought in counts as well.
    known = {operation[:2] for operation in lacking}
    lacking.update({o: count for o, count in still_lacking.items() if o[:2] not in known})
    launching = Counter(operation.type for operation, node in simplified if _launches(node))
    return GraphAudit(
        traced=len(traced),
        runs=len(simplified),
        launches=sum(launching.values()),
        types=dict(launching.most_common()),
        fallbacks=[Fallback(operation, count) for operation, count in lacking.most_common()],
        fallbacks_that_run=sum(still_lacking.values()),
    )


def has_kernel(node) -> bool:
    """Return whether a node of a graph (NodeDef) can run on this TensorFlow's GPUs."""
    return node.op in _NO_KERNEL_NEEDED or bool(_matching_kernels(node))


def _matching_kernels(node) -> list:
    """Return the registered GPU kernels whose constraints a node's attributes satisfy."""
    return [
        kernel
        for kernel in _gpu_kernels().get(node.op, ())
        if kernel.label == node.attr["_kernel"].s.decode()
        and all(
            set(_types(node.attr[constraint.name])) <= set(constraint.allowed_values.list.type)
            for constraint in kernel.constraint
        )
    ]


def _launches(node) -> bool:
    if node.op in _NOTHING_TO_COMPUTE:
        return False
    found = _matching_kernels(node)
    if not found:
        return True
    # A kernel whose results all lie in host memory computes there, though the GPU has it.
    results = {result.name for result in _definition(node.op).output_arg}
    return not results or not all(results <= set(kernel.host_memory_arg) for kernel in found)


def _all_kernels():
    # Here and below TensorFlow's inner modules, which must not be loaded before runtime.py.
    from tensorflow.python.framework import kernels

    return kernels.get_all_registered_kernels().kernel


_kernels_by_operation: dict[str, list] = {}


def _gpu_kernels() -> dict[str, list]:
    if not _kernels_by_operation:
        for kernel in _all_kernels():
            # DEFAULT kernels serve every device, for what needs no device of its own.
            if kernel.device_type in (gpu_device_type(), "DEFAULT"):
                _kernels_by_operation.setdefault(kernel.op, []).append(kernel)
    return _kernels_by_operation


def _definition(operation_type: str):
    from tensorflow.python.framework import op_def_registry

    if hasattr(op_def_registry, "get"):
        return op_def_registry.get(operation_type)
    return op_def_registry.get_registered_ops()[operation_type]


def _types(attribute) -> list[int]:
    """Return the dtypes, as enum numbers, that an attribute of a node holds."""
    return [attribute.type] if attribute.type else list(attribute.list.type)


def _operations(graph_def, layers) -> Iterator[tuple[Operation, Any]]:
    """Yield (operation, node) for a graph and for the functions it calls."""
    functions = {function.signature.name: function for function in graph_def.library.function}

    def walk(nodes, outer_layer):
        found: dict[str, str] = {}
        for node in nodes:
            # Not all gradients bear a layer's name: then the name of what they compute with.
            inputs = [found.get(name.lstrip("^").split(":")[0], "") for name in node.input]
            layer = _layer(node.name, layers) or next(filter(None, inputs), outer_layer)
            found[node.name] = layer
            dtypes = {dtype for name in sorted(node.attr) for dtype in _types(node.attr[name])}
            names = tuple(sorted(tf.as_dtype(dtype).name for dtype in dtypes))
            yield Operation(node.op, names, layer), node
            if node.op in _CALLS:
                for attribute in node.attr.values():
                    for call in [attribute.func] + list(attribute.list.func):
                        if call.name in functions:
                            yield from walk(functions[call.name].node_def, layer)

    return walk(graph_def.node, "")


def _layer(name: str, layers) -> str:
    """Return the layer in the name of an operation: "vit/block_1/attention/MatMul" has two."""
    scopes = name.split("/")[:-1]
    if layers is not None:
        # A layer called twice is block_1_1 the second time.
        scopes = [s for s in scopes if s in layers or s.rpartition("_")[0] in layers]
    return "/".join(scopes)


def _simplified(concrete):
    """Return the graph as TensorFlow's own optimizer (Grappler) leaves it, without fusions."""
    from tensorflow.core.protobuf import rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer
    from tensorflow.python.training import saver

    graph = concrete.graph
    configuration = tf.compat.v1.ConfigProto()
    rewriting = configuration.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1
    # These depend on the device, and there may be none here.
    rewriting.remapping = rewriting.layout_optimizer = rewriter_config_pb2.RewriterConfig.OFF
    rewriting.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    meta_graph = saver.export_meta_graph(
        graph_def=graph.as_graph_def(add_shapes=True), graph=graph, clear_devices=True
    )
    needed = list(concrete.outputs) + [
        operation for operation in graph.get_operations() if _has_effect(operation)
    ]
    fetched = meta_graph.collection_def["train_op"].node_list.value
    fetched.extend(item.name for item in needed)
    return tf_optimizer.OptimizeGraph(configuration, meta_graph)


def _has_effect(operation) -> bool:
    """Return whether an operation changes a variable, or calls what may."""
    return operation.type.startswith(("Resource", "Assign", "Stateful", "While", "If", "Case"))


def audit_script(name_or_path: str, *flags: str) -> int:
    """Print the audit of a script's training step; return 1 if anything lacks a kernel, else 0.

    name_or_path is a file such as train_cifar10.py or a module such as recipes.mnist; flags are
    those of the script. An objective that cannot be built, because its teacher is not there, is
    named, and the ordinary one audited. Raises ValueError for a script that cannot be audited.
    """
    script = _load(name_or_path)
    if not hasattr(script, "build_model"):
        raise ValueError(f"{name_or_path} has no build_model(settings): nothing to audit.")
    settings = settings_from(vars(script), flags)
    objective, notes = CLASSIFICATION, []
    if hasattr(script, "build_objective"):
        try:
            objective = script.build_objective(settings)
        except ValueError as problem:
            notes = [f"The script's own objective was not audited: {problem}"]
    audit = audit_settings(script.build_model(settings), settings, objective)
    print("\n".join([settings.program, audit.text()] + notes))
    return int(has_directml_kernels() and bool(audit.fallbacks + audit.prediction.fallbacks))


def audit_settings(build_model: partial, settings: Settings, objective=CLASSIFICATION) -> Audit:
    """Audit the training step that `training.train` would run, on a GPU, for these settings."""
    if settings.DATASET not in NAMED_DATASETS:
        raise ValueError(
            f"DATASET is {settings.DATASET!r}: the audit reads no data, choose one of "
            f"{', '.join(NAMED_DATASETS)}."
        )
    row = NAMED_DATASETS[settings.DATASET]
    image_shape, classes = row.image_shape, len(row.class_names)
    if settings.IMAGE_SIZE:
        image_shape = (settings.IMAGE_SIZE, settings.IMAGE_SIZE, image_shape[-1])
    with layer_precision(settings.MIXED_PRECISION):
        model = build_model(
            image_shape=image_shape,
            number_of_classes=classes,
            mean=[127.5] * image_shape[-1],
            std=[64.0] * image_shape[-1],
        )
    # As on a GPU: one pass at once, of the whole batch unless the settings say otherwise.
    settings.MICRO_BATCH_SIZE = max(settings.MICRO_BATCH_SIZE, 0)
    # As if every class had one image: the graph does not depend on the numbers.
    weights = class_weights_for(settings.CLASS_WEIGHTS, range(classes), classes)
    step = training_step_for(model, settings, objective, passes_at_once=1, class_weights=weights)
    return audit_training_step(step, image_shape, classes, mixes_labels(settings.AUGMENTATIONS))


def _load(name_or_path: str):
    if not name_or_path.endswith(".py"):
        try:
            return importlib.import_module(name_or_path)
        except ModuleNotFoundError as error:
            raise ValueError(f"no script {name_or_path!r}: {error}") from None
    if not os.path.isfile(name_or_path):
        raise ValueError(f"no file {name_or_path!r}")
    name = os.path.splitext(os.path.basename(name_or_path))[0]
    spec = importlib.util.spec_from_file_location(name, name_or_path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script
