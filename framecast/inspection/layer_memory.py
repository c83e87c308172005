"""The memory of a layer of a Keras model, in elements of float32: an estimate within 30 %.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from framecast.inspection.kernel_layers import geometry_of, is_fused
from framecast.inspection.layer_outcome import Frame, LayerOutcome, count_of
from framecast.inspection.model_graph import Node
from framecast.inspection.sizes import Shape, is_known, product
from framecast.nn.convlstm.keras_names import SAVE_RESULT_ALONE
from framecast.nn.cost_model.builder import fused_memory


def elements_of(
    node: Node, outcome: LayerOutcome, shapes: Sequence[Shape | None]
) -> tuple[int, int] | None:
    """Elements saved for the backward pass, and alive at most without one; None if unknown.

    Both include the input. An unknown batch counts as one sample.
    """
    if not outcome.outputs or None in shapes:
        return None
    tensors = [*shapes, *outcome.outputs]
    if not all(is_known(shape[1:]) for shape in tensors):
        return None
    known = [(shape[0] if is_known(shape) else 1, *shape[1:]) for shape in tensors]
    if not all(map(product, known)):  # an axis of 0: `x[:, 3:3]`
        return 0, 0
    inputs, outputs = known[: len(shapes)], known[len(shapes) :]
    if node.kind.startswith("ConvLSTM"):
        return _convlstm(node, inputs[0], outputs[0])
    returned = sum(map(product, outputs))
    # Views of what another layer has saved already
    views = ("InputLayer", "Flatten", "Reshape")
    return 0 if node.kind in views else returned, sum(map(product, inputs)) + returned


def _convlstm(node: Node, shape: Shape, output: Shape) -> tuple[int, int]:
    arguments, frame = node.arguments, Frame.of(node.kind, node.arguments, shape)
    steps, sequences = frame.leading[1], arguments["return_sequences"]
    # The input itself is saved for the kernel's gradient
    given, returned = product(shape), product(output)
    state = returned // steps if sequences else returned
    read = (*frame.leading, frame.channels, *frame.sides)
    filters, geometry = count_of(arguments), geometry_of(node.kind, arguments)
    saved, workspace = fused_memory(read, filters, geometry, recompute=arguments["recompute"])
    fused = is_fused(arguments)  # everything else runs step by step
    if not fused or arguments["dropout"] or arguments["recurrent_dropout"]:
        # With dropout each gate reads its own copy
        copies, hidden = (4 if arguments[name] else 1 for name in ("dropout", "recurrent_dropout"))
        # A step of the loop saves h and i, f, the candidate, o, activation(c) and c; most
        # activations save pre-activations, too
        functions = (arguments["activation"], arguments["recurrent_activation"])
        by_gates = 6 if all(each in (*SAVE_RESULT_ALONE, None) for each in functions) else 10
        # Both sums and c, which LayerNorm keeps with their means and variances
        by_gates += 17 if arguments["layer_norm"] else 0
        saved = (copies - 1) * given + steps * state * (hidden + by_gates)
    if not fused:
        # Pre-activations of all steps, their normalisation, and a step's gates
        sums = steps * 4 * state
        workspace = max(3 * sums if arguments["layer_norm"] else sums, sums + 14 * state) - state
    return given + saved, given + returned + workspace
