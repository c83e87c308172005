"""Keras' own tests, run on the layers and rules here: its test files, with its names replaced.

A test case reads `layers`, `initializers` and so on from its module; there this project's stand for
the time of one test. `run_layer_test` is Keras', as far as it means anything without a graph of
symbols. What belongs to something that is not here is listed, with the reason.
"""

import importlib
import sys
import types
from unittest import mock

import keras
import numpy as np
import pytest
import torch
from torch import nn

import framecast
from framecast.nn.convlstm import activations, constraints, initializers, regularizers
from framecast.nn.convlstm.keras_identifiers import identify, resolve
from framecast.nn.convlstm.layer import ConvLSTM1D

testing = pytest.importorskip("keras.src.testing")
# Some versions of Keras come without their tests.
pytest.importorskip("keras.src.layers.rnn.conv_lstm_test")


def array_of(x):
    return x.detach() if isinstance(x, torch.Tensor) else torch.as_tensor(np.asarray(x))


def on_arrays(function):
    """Keras' functions take arrays and its variables too; here they take tensors."""
    return lambda x, *rest, **named: function(
        array_of(x.value if isinstance(x, keras.Variable) else x), *rest, **named
    )


def rule_class(kind, registry, config):
    """A class of rules as Keras has them: with get_config and from_config, called with arrays."""

    class Rule(kind):
        def __call__(self, x=None, **named):
            if config == "initializer":
                return super().__call__(named.pop("shape", x), named.pop("dtype", None))
            return super().__call__(array_of(x), **named)

        def get_config(self):
            return identify(config, kind(**self._given()), registry).get("config", {})

        def _given(self):
            names = kind.__init__.__code__.co_varnames[1 : kind.__init__.__code__.co_argcount]
            return {name: getattr(self, name) for name in names}

        @classmethod
        def from_config(cls, given):
            return cls(**given)

    Rule.__name__ = kind.__name__
    return Rule


def rules(module, names, registry, kind):
    found = {name: rule_class(getattr(module, name), registry, kind) for name in names.split()}

    def get(identifier):
        if kind == "initializer" and isinstance(identifier, (torch.Tensor, np.ndarray)):
            return initializers.get_initializer(identifier, kind)
        held = resolve(kind, identifier, registry)
        return found[type(held).__name__]() if isinstance(identifier, str) else held

    return types.SimpleNamespace(**found, get=get)


class LSTM(ConvLSTM1D):
    """An LSTM is a ConvLSTM1D with a kernel of 1 over one place."""

    def __init__(self, units, **arguments):
        super().__init__(units, 1, **arguments)

    def forward(self, sequences, initial_state=None, mask=None, training=None):
        x = torch.as_tensor(np.asarray(sequences), dtype=torch.float32).unsqueeze(2)
        state = initial_state and [torch.as_tensor(s).unsqueeze(1) for s in initial_state]
        found = super().forward(x, state, mask, training)
        return tuple(y.squeeze(-2) for y in found) if self.return_state else found.squeeze(-2)

    def compute_output_shape(self, shape):
        found = super().compute_output_shape((*shape[:2], 1, shape[2]))
        return (
            tuple((*s[:-2], s[-1]) for s in found)
            if self.return_state
            else (
                *found[:-2],
                found[-1],
            )
        )


class Dense(nn.Module):
    def __init__(self, units, kernel_initializer=None, use_bias=True, activation=None):
        super().__init__()
        self.linear = nn.LazyLinear(units, bias=use_bias)
        self.start = kernel_initializer

    def forward(self, x):
        output = self.linear(x.float())
        if self.start is not None:
            nn.init.constant_(self.linear.weight, self.start.value)
            output = self.linear(x.float())
        return output


class Wrapper(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        layer.call = layer.forward

    def forward(self, inputs, training=False, mask=None):
        return self.call(inputs, training, mask)


INITIALIZERS = rules(
    initializers,
    "Constant Zeros Ones RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal "
    "GlorotUniform GlorotNormal HeNormal HeUniform LecunNormal LecunUniform",
    initializers.INITIALIZERS,
    "initializer",
)
REPLACED = {
    "layers": types.SimpleNamespace(
        **{name: getattr(framecast, name) for name in framecast.__all__ if name[0] in "BCT"},
        LSTM=LSTM,
        Dense=Dense,
        Wrapper=Wrapper,
    ),
    "ConvLSTM": lambda rank, **arguments: framecast.ConvLSTM2D(**arguments),
    "ConvLSTMCell": lambda rank, **arguments: framecast.ConvLSTMCell2D(**arguments),
    "initializers": INITIALIZERS,
    "regularizers": rules(regularizers, "L1 L2 L1L2", regularizers.REGULARIZERS, "regularizer"),
    "constraints": rules(
        constraints, "MaxNorm MinMaxNorm NonNeg UnitNorm", constraints.CONSTRAINTS, "constraint"
    ),
    "activations": types.SimpleNamespace(
        **{name: on_arrays(function) for name, function in activations.ACTIVATIONS.items()}
    ),
}
BACKEND = types.SimpleNamespace(
    config=keras.config,
    convert_to_numpy=keras.ops.convert_to_numpy,
    convert_to_tensor=keras.ops.convert_to_tensor,
    Variable=keras.Variable,
    backend=keras.backend.backend,
    standardize_dtype=keras.backend.standardize_dtype,
    floatx=keras.backend.floatx,
    random=types.SimpleNamespace(SeedGenerator=lambda seed: torch.Generator().manual_seed(seed)),
)
FILES = (
    *(f"layers.rnn.conv_lstm{rank}_test" for rank in ("", "1d", "2d", "3d")),
    *("layers.rnn.bidirectional_test", "layers.rnn.time_distributed_test"),
    *("initializers.constant_initializers_test", "initializers.random_initializers_test"),
    *("regularizers.regularizers_test", "constraints.constraints_test"),
    "activations.activations_test",
)
ELSEWHERE = {
    "SimpleRNN, GRU and cuDNN's LSTM are not layers of this project": """
        SimpleRNNTest.test_basics SimpleRNNTest.test_correctness SimpleRNNTest.test_masking
        SimpleRNNTest.test_keeps_use_cudnn SimpleRNNTest.test_fused_lstm_eligibility
        SimpleRNNTest.test_fused_lstm_matches_unfused SimpleRNNTest.test_fused_gru_eligibility
        SimpleRNNTest.test_fused_gru_matches_unfused
        SimpleRNNTest.test_torch_cudnn_bidirectional_gru_dispatch_fires""",
    "needs Keras' symbolic inputs, or the configuration of any module of PyTorch": """
        TimeDistributedTest.test_basics TimeDistributedTest.test_build
        TimeDistributedTest.test_with_mask_zero""",
    "rules for matrices or spectrograms, which no weight of a ConvLSTM is": """
        ConstantInitializersTest.test_identity_initializer
        ConstantInitializersTest.test_stft_initializer
        RandomInitializersTest.test_mha_query_projection_variance
        RegularizersTest.test_config RegularizersTest.test_get_method
        RegularizersTest.test_orthogonal_regularizer
        RegularizersTest.test_orthogonal_regularizer_mode_validation
        RegularizersTest.test_orthogonal_regularizer_input_rank_validation
        RegularizersTest.test_orthogonal_regularizer_get_config""",
    "Keras' base class for the user's own constraints; here any callable is one": """
        ConstraintsTest.test_default_constraint_call ConstraintsTest.test_constraint_get_config
        ConstraintsTest.test_constraint_from_config""",
    "parameters of functions, which a layer's activation cannot have; here any callable is one": """
        ActivationsTest.test_softmax ActivationsTest.test_softmax_2d_axis_0
        ActivationsTest.test_softmax_3d_axis_tuple ActivationsTest.test_softmax_1d
        ActivationsTest.test_softmax_higher_dim ActivationsTest.test_temporal_softmax
        ActivationsTest.test_softmax_higher_dim_multiple_axes
        ActivationsTest.test_softmax_negative_axis ActivationsTest.test_log_softmax_2d_axis_0
        ActivationsTest.test_log_softmax_3d_axis_tuple ActivationsTest.test_log_softmax_1d
        ActivationsTest.test_log_softmax_higher_dim ActivationsTest.test_temporal_log_softmax
        ActivationsTest.test_log_softmax_higher_dim_multiple_axes
        ActivationsTest.test_log_softmax_negative_axis ActivationsTest.test_relu_negative_slope
        ActivationsTest.test_relu_max_value ActivationsTest.test_relu_threshold
        ActivationsTest.test_relu_combined_threshold_and_max_value
        ActivationsTest.test_relu_combined_all_parameters
        ActivationsTest.test_relu_to_trigger_relu6 ActivationsTest.test_relu_to_trigger_leaky
        ActivationsTest.test_leaky_relu ActivationsTest.test_gelu ActivationsTest.test_glu
        ActivationsTest.test_threshold ActivationsTest.test_sparsemax
        ActivationsTest.test_get_method""",
}


def own_tests():
    elsewhere = " ".join(ELSEWHERE.values()).split()
    # Keras' root conftest, which is not installed with it.
    conftest = types.ModuleType("conftest")
    conftest.skip_if_backend = lambda *_: lambda test: test
    for file in FILES:
        with mock.patch.dict(sys.modules, conftest=conftest):
            module = importlib.import_module(f"keras.src.{file}")
        for case in vars(module).values():
            if isinstance(case, type) and issubclass(case, testing.TestCase):
                for name in vars(case):
                    if name.startswith("test") and f"{case.__name__}.{name}" not in elsewhere:
                        yield pytest.param(module, case, name, id=f"{file}:{case.__name__}.{name}")


def run_layer_test(
    self,
    layer_class,
    init_kwargs,
    input_shape,
    expected_output_shape,
    expected_num_trainable_weights,
    expected_num_non_trainable_weights,
    supports_masking,
    call_kwargs=None,
):
    """Keras' checks of a layer: configuration, shapes known early, weights, a training step."""
    layer = layer_class(**init_kwargs)
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert layer.compute_output_shape(input_shape) == expected_output_shape
    x = torch.rand(input_shape)
    output = layer(x, **call_kwargs or {})
    assert tuple(output.shape) == expected_output_shape
    assert len(layer.get_weights()) == expected_num_trainable_weights
    again.set_weights(layer.get_weights())
    torch.testing.assert_close(again.eval()(x), layer.eval()(x))
    assert expected_num_non_trainable_weights == 0
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    output.square().mean().backward()
    before = layer.get_weights()
    optimizer.step()
    assert all(not np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


def run_class_serialization_test(self, held):
    again = type(held).from_config(held.get_config())
    assert again.get_config() == held.get_config()


@pytest.mark.parametrize(("module", "case", "name"), own_tests())
def test_keras_own(module, case, name, monkeypatch, request):
    if hasattr(module, "backend"):
        monkeypatch.setattr(module, "backend", BACKEND)
    for replaced, ours in REPLACED.items():
        if hasattr(module, replaced):
            monkeypatch.setattr(module, replaced, ours)
    monkeypatch.setattr(case, "run_layer_test", run_layer_test)
    monkeypatch.setattr(case, "run_class_serialization_test", run_class_serialization_test)
    # Our errors are ValueErrors too, in words of their own.
    monkeypatch.setattr(case, "assertRaisesRegex", lambda self, kind, text: self.assertRaises(kind))
    test = case(name)
    test.setUp()
    getattr(test, name)()
