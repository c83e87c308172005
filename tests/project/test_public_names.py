"""The names of `import framecast`: they change only on purpose, and importing is cheap."""

import pytest

import framecast

NAMES = {
    "Bidirectional": "class",
    "Clip": "class",
    "ConvLSTM1D": "class",
    "ConvLSTM2D": "class",
    "ConvLSTM3D": "class",
    "ConvLSTMCell1D": "class",
    "ConvLSTMCell2D": "class",
    "ConvLSTMCell3D": "class",
    "ConvLSTMStack": "class",
    "Evaluation": "class",
    "FrameForecaster": "class",
    "LoadedForecaster": "class",
    "TimeDistributed": "class",
    "Training": "class",
    "evaluate": "function",
    "load_forecaster": "function",
    "load_keras_layers": "function",
    "load_keras_weights": "function",
    "load_ndrplz": "function",
    "load_openstl": "function",
    "predict": "function",
    "read": "function",
    "save_keras_weights": "function",
    "subsequences": "function",
    "to_keras_config": "function",
    "train": "function",
    "write": "function",
}


def test_the_public_names_are_these():
    assert set(framecast.__all__) == {*NAMES, "__version__"} == set(dir(framecast))


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_a_public_name_has_its_kind_and_is_documented(name, kind):
    found = getattr(framecast, name)
    assert found.__name__ == name
    assert isinstance(found, type) == (kind == "class")
    assert found.__doc__


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'framecast' has no attribute 'ConvLSTM4D'"):
        framecast.ConvLSTM4D  # noqa: B018
