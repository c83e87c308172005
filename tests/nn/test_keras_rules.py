"""Activations, initializers, regularizers and constraints by Keras' names, against Keras' own."""

import math
import pickle

import keras
import pytest
import torch

from framecast.nn.convlstm.activations import ACTIVATIONS, get_activation
from framecast.nn.convlstm.constraints import CONSTRAINTS, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from framecast.nn.convlstm.initializers import INITIALIZERS, VarianceScaling, get_initializer
from framecast.nn.convlstm.keras_identifiers import resolve
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.convlstm.regularizers import L1, L1L2, L2, REGULARIZERS
from framecast.nn.convlstm.weights import to_keras_layout
from tests.support.keras_models import NEWEST_KERAS

OURS_ALONE = {"hard_sigmoid_keras2"}


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - OURS_ALONE))
def test_activation_equals_that_of_keras(name):
    x_BHWC = torch.linspace(-7, 7, 2 * 5 * 6 * 4, dtype=torch.float64).reshape(2, 5, 6, 4)
    ours = get_activation(name, "activation")(x_BHWC.movedim(-1, 1)).movedim(1, -1)
    theirs = keras.activations.get(name)(x_BHWC)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_hard_sigmoid_of_older_keras_has_its_own_name():
    x = torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0])
    older = get_activation("hard_sigmoid_keras2", "activation")(x)
    torch.testing.assert_close(older, torch.tensor([0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0]))
    assert not torch.allclose(older, get_activation("hard_sigmoid", "activation")(x))


KERNEL = (3, 5, 20, 48)


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"constant", "variance_scaling"}))
def test_initializer_draws_from_the_distribution_of_keras(name):
    keras.utils.set_random_seed(0)
    ours = get_initializer(name, "kernel_initializer")(KERNEL, dtype=torch.float64)
    theirs = keras.initializers.get(name)(KERNEL, dtype="float64")
    assert ours.shape == theirs.shape
    assert ours.dtype == torch.float64
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02, abs=1e-12)
    assert ours.mean().item() == pytest.approx(
        theirs.mean().item(), abs=0.05 * theirs.std().item() + 1e-12
    )
    if "normal" not in name and name != "orthogonal":
        assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.01)


@pytest.mark.parametrize("name", ["random_normal", "truncated_normal"])
def test_without_a_deviation_all_weights_are_the_mean_as_in_keras(name):
    ours = INITIALIZERS[name](0.3, 0.0)((2, 3))
    theirs = keras.initializers.get(name).__class__(0.3, 0.0)((2, 3))
    assert torch.equal(ours, keras.ops.convert_to_tensor(theirs).cpu())
    assert torch.equal(ours, torch.full((2, 3), 0.3))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal"])
def test_variance_scaling_has_the_variance_it_says(mode, distribution):
    fan = {"fan_in": 15 * 20, "fan_out": 15 * 48, "fan_avg": 15 * 34}[mode]
    drawn = VarianceScaling(3.0, mode, distribution, seed=1)(KERNEL)
    assert drawn.std().item() == pytest.approx(math.sqrt(3.0 / fan), rel=0.02)


@pytest.mark.parametrize("shape", [(3, 3, 4, 16), (1, 2, 3, 24)])
def test_orthogonal_matrices_are_orthogonal_in_the_layout_of_keras(shape):
    matrix = INITIALIZERS["orthogonal"](gain=2.0)(shape, dtype=torch.float64).flatten(0, -2)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    identity = torch.eye(tall.shape[1], dtype=torch.float64)
    torch.testing.assert_close(tall.T @ tall, 4.0 * identity, rtol=0, atol=1e-12)


def test_a_seeded_initializer_repeats_itself_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    config = {"class_name": "GlorotUniform", "config": {"seed": 7}}
    first, second = (get_initializer(config, "kernel_initializer")(KERNEL) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["glorot_uniform", "orthogonal", "random_normal"])
def test_a_configuration_saved_by_keras_is_understood(name):
    config = keras.initializers.serialize(keras.initializers.get(name))
    assert get_initializer(config, "kernel_initializer") == get_initializer(name, "a")


def test_functions_and_generators_of_seeds_are_understood_as_keras_writes_them():
    function = {"module": "builtins", "class_name": "function", "config": "tanh"}
    assert get_activation(function, "activation") is torch.tanh
    theirs = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(7))
    assert get_initializer(theirs, "kernel_initializer") == INITIALIZERS["glorot_uniform"](seed=7)


def test_a_rule_of_keras_that_has_no_name_here_is_called_as_it_is():
    rule = keras.regularizers.OrthogonalRegularizer()
    assert resolve("regularizer", rule, REGULARIZERS) is rule


def test_a_layer_starts_as_one_of_keras_does():
    keras.utils.set_random_seed(5)
    ours = ConvLSTM2D(32, (3, 5), in_channels=24)
    theirs = keras.layers.ConvLSTM2D(32, (3, 5))
    theirs.build((2, 3, 7, 8, 24))
    for name in ("kernel", "recurrent_kernel", "bias"):
        our, their = to_keras_layout(getattr(ours, name)), getattr(theirs.cell, name).value
        assert our.shape == their.shape
        assert our.std().item() == pytest.approx(their.std().item(), rel=0.02)
        assert our.abs().max().item() == pytest.approx(their.abs().max().item(), rel=0.3)
    assert torch.equal(ours.bias, theirs.cell.bias.value)
    matrix = to_keras_layout(ours.recurrent_kernel).flatten(0, -2)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(128), rtol=0, atol=1e-5)


@pytest.mark.parametrize("unit_forget_bias", [True, False])
def test_the_forget_bias_is_one_and_the_others_come_from_the_initializer(unit_forget_bias):
    bias = ConvLSTM2D(
        2,
        3,
        bias_initializer=lambda shape, dtype: torch.full(shape, 0.03, dtype=dtype),
        unit_forget_bias=unit_forget_bias,
    ).bias
    forget = 1.0 if unit_forget_bias else 0.03
    assert bias.tolist() == pytest.approx([0.03, 0.03, forget, forget, 0.03, 0.03, 0.03, 0.03])


def kind(rule):
    """A name that is the same in every process, unlike an object's address."""
    return rule if isinstance(rule, str) else type(rule).__name__


# Keras rounds the factor of L1 to float32, so those here are the same in both.
PENALTIES = [
    ("l2", "L2"),
    (L1(0.25), keras.regularizers.L1(0.25)),
    (L2(0.2), keras.regularizers.L2(0.2)),
    (L1L2(0.1, 0.4), keras.regularizers.L1L2(0.1, 0.4)),
]


@pytest.mark.parametrize("name", ["l1", "l2", "l1l2", "L1", "L2", "L1L2"])
def test_a_penalty_by_name_has_the_factors_of_keras(name):
    ours = resolve("regularizer", name, REGULARIZERS)
    config = keras.regularizers.get(name).get_config()
    assert (ours.l1, ours.l2) == pytest.approx((config.get("l1", 0.0), config.get("l2", 0.0)))


@pytest.mark.parametrize(("ours", "theirs"), PENALTIES, ids=kind)
@pytest.mark.parametrize("return_state", [True, False])
@NEWEST_KERAS
def test_regularization_losses_equal_those_of_keras(ours, theirs, return_state):
    def settings(regularizer):
        names = ("kernel", "recurrent", "bias", "activity")
        return {f"{name}_regularizer": regularizer for name in names}

    torch.manual_seed(2)
    x = torch.randn(2, 5, 7, 8, 3, dtype=torch.float64)
    common = {"filters": 6, "kernel_size": (3, 2), "return_state": return_state}
    layer = ConvLSTM2D(**common, **settings(ours), in_channels=3, dtype=torch.float64)
    other = keras.layers.ConvLSTM2D(**common, **settings(theirs), dtype="float64")
    other.build(x.shape)
    for name in ("kernel", "recurrent_kernel", "bias"):
        getattr(other.cell, name).assign(to_keras_layout(getattr(layer, name)).detach())
    layer(x)
    other(x)
    losses = layer.regularization_losses()
    assert list(losses) == ["kernel", "recurrent_kernel", "bias", "activity"]
    *activity, kernel, recurrent, bias = (loss.item() for loss in other.losses)
    assert len(activity) == (3 if return_state else 1)
    weights = [losses[name].item() for name in ("kernel", "recurrent_kernel", "bias")]
    assert weights == pytest.approx([kernel, recurrent, bias], rel=1e-10)
    # Keras divides this one by the batch size in float32, whatever the layer's dtype.
    assert losses["activity"].item() == pytest.approx(sum(activity), rel=1e-6)
    sum(losses.values()).backward()
    assert layer.kernel.grad.abs().sum() > 0


def test_a_layer_without_regularizers_has_no_losses():
    layer = ConvLSTM2D(2, 3)
    layer(torch.zeros(1, 2, 4, 5, 3))
    assert layer.regularization_losses() == {}


def test_a_layer_with_an_activity_penalty_can_be_copied_and_pickled_after_a_call():
    layer = ConvLSTM2D(2, 3, activity_regularizer="l2")
    layer(torch.ones(1, 2, 4, 5, 3))
    assert layer.regularization_losses()["activity"] > 0
    copy = pickle.loads(pickle.dumps(layer))
    assert torch.equal(copy.kernel, layer.kernel)
    assert copy.regularization_losses() == {}


PROJECTIONS = [
    (NonNeg(), keras.constraints.NonNeg()),
    (MaxNorm(0.5), keras.constraints.MaxNorm(0.5)),
    (MaxNorm(0.5, axis=(0, 1, 2)), keras.constraints.MaxNorm(0.5, axis=(0, 1, 2))),
    (UnitNorm(), keras.constraints.UnitNorm()),
    (UnitNorm(axis=(0, 2)), keras.constraints.UnitNorm(axis=(0, 2))),
    (MinMaxNorm(0.4, 0.6, 0.7, (1, 2)), keras.constraints.MinMaxNorm(0.4, 0.6, 0.7, (1, 2))),
    ("min_max_norm", "min_max_norm"),
    ("max_norm", "MaxNorm"),
]


@pytest.mark.parametrize(("ours", "theirs"), PROJECTIONS, ids=kind)
def test_constraints_project_as_those_of_keras(ours, theirs):
    torch.manual_seed(4)
    layer = ConvLSTM2D(6, (3, 2), in_channels=3, kernel_constraint=ours, recurrent_constraint=ours)
    before = {name: getattr(layer, name).detach().clone() for name in layer.state_dict()}
    layer.apply_constraints()
    for name in ("kernel", "recurrent_kernel"):
        expected = keras.constraints.get(theirs)(to_keras_layout(before[name]))
        projected = to_keras_layout(getattr(layer, name)).detach()
        torch.testing.assert_close(projected, expected, rtol=1e-6, atol=1e-8)
        assert not torch.equal(getattr(layer, name), before[name]) or ours == "max_norm"
    assert torch.equal(layer.bias, before["bias"])


def test_the_bias_is_projected_too():
    layer = ConvLSTM2D(2, 3, in_channels=1, bias_constraint="non_neg", bias_initializer="ones")
    with torch.no_grad():
        layer.bias.copy_(torch.arange(8) - 3.0)
    layer.apply_constraints()
    assert layer.bias.tolist() == [0, 0, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("get", "name", "text"),
    [
        (get_activation, "tahn", r"activation: there is no 'tahn'; did you mean 'tanh'\?"),
        (get_initializer, "glorot", "there is no 'glorot'; did you mean 'glorot_"),
        (get_initializer, None, 'must not be None; use "zeros"'),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(get, name, text):
    with pytest.raises(ValueError, match=text):
        get(name, "activation")


@pytest.mark.parametrize(
    ("registry", "name", "text"),
    [
        (REGULARIZERS, "l3", "kind: there is no 'l3'; known are l1, l1l2, l2"),
        (REGULARIZERS, 0.01, "kind must be a name, a mapping or a callable; received 0.01"),
        (CONSTRAINTS, "clip", "kind: there is no 'clip'; known are max_norm, min_max_norm"),
    ],
)
def test_what_has_no_name_in_a_registry_is_refused(registry, name, text):
    with pytest.raises(ValueError, match=text):
        resolve("kind", name, registry)


@pytest.mark.parametrize("factor", [-0.1, math.inf, math.nan])
def test_a_penalty_that_is_no_number_from_zero_on_is_refused(factor):
    with pytest.raises(ValueError, match="l1 must be a number >= 0; received"):
        L1(factor)
