"""framecast predicts the next frames of a video or frame sequence.

Axes, as suffixes of array names: B batch, T time, C channels, H rows, W columns, F filters. On disk
frames are uint8 or uint16 (T, H, W, C); in the model they are float32 (B, T, C, H, W) in [0, 1].
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from framecast.runtime.versions import __version__

if TYPE_CHECKING:
    from framecast.api import Clip, Evaluation, Training, evaluate, predict, read, train, write
    from framecast.nn.convlstm.cell import ConvLSTMCell1D, ConvLSTMCell2D, ConvLSTMCell3D
    from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
    from framecast.nn.convlstm.stack import ConvLSTMStack
    from framecast.nn.convlstm.subsequences import subsequences
    from framecast.nn.convlstm.wrappers import Bidirectional, TimeDistributed
    from framecast.nn.interchange.keras_config import to_keras_config
    from framecast.nn.interchange.keras_layers import (
        load_keras_layers,
        load_keras_weights,
        save_keras_weights,
    )
    from framecast.nn.interchange.pytorch_checkpoints import load_ndrplz, load_openstl
    from framecast.prediction.frame_forecaster import FrameForecaster
    from framecast.prediction.loaded_forecaster import LoadedForecaster, load_forecaster

_HOMES = {
    "Bidirectional": "framecast.nn.convlstm.wrappers",
    "Clip": "framecast.api",
    "ConvLSTM1D": "framecast.nn.convlstm.layer",
    "ConvLSTM2D": "framecast.nn.convlstm.layer",
    "ConvLSTM3D": "framecast.nn.convlstm.layer",
    "ConvLSTMCell1D": "framecast.nn.convlstm.cell",
    "ConvLSTMCell2D": "framecast.nn.convlstm.cell",
    "ConvLSTMCell3D": "framecast.nn.convlstm.cell",
    "ConvLSTMStack": "framecast.nn.convlstm.stack",
    "Evaluation": "framecast.api",
    "FrameForecaster": "framecast.prediction.frame_forecaster",
    "LoadedForecaster": "framecast.prediction.loaded_forecaster",
    "TimeDistributed": "framecast.nn.convlstm.wrappers",
    "Training": "framecast.api",
    "evaluate": "framecast.api",
    "load_forecaster": "framecast.prediction.loaded_forecaster",
    "load_keras_layers": "framecast.nn.interchange.keras_layers",
    "load_keras_weights": "framecast.nn.interchange.keras_layers",
    "load_ndrplz": "framecast.nn.interchange.pytorch_checkpoints",
    "load_openstl": "framecast.nn.interchange.pytorch_checkpoints",
    "predict": "framecast.api",
    "read": "framecast.api",
    "save_keras_weights": "framecast.nn.interchange.keras_layers",
    "subsequences": "framecast.nn.convlstm.subsequences",
    "to_keras_config": "framecast.nn.interchange.keras_config",
    "train": "framecast.api",
    "write": "framecast.api",
}
__all__ = [
    "Bidirectional",
    "Clip",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "ConvLSTMCell1D",
    "ConvLSTMCell2D",
    "ConvLSTMCell3D",
    "ConvLSTMStack",
    "Evaluation",
    "FrameForecaster",
    "LoadedForecaster",
    "TimeDistributed",
    "Training",
    "__version__",
    "evaluate",
    "load_forecaster",
    "load_keras_layers",
    "load_keras_weights",
    "load_ndrplz",
    "load_openstl",
    "predict",
    "read",
    "save_keras_weights",
    "subsequences",
    "to_keras_config",
    "train",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that `import framecast` alone imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'framecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
