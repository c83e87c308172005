"""framecast predicts the next frames of a video or frame sequence.

Axes, as suffixes of array names: B batch, T time, C channels, H rows, W columns, F filters. On disk
frames are uint8 or uint16 (T, H, W, C); in the model they are float32 (B, T, C, H, W) in [0, 1].
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framecast.nn.convlstm import ConvLSTM1D, ConvLSTM2D
    from framecast.nn.keras import (
        load_keras_layers,
        load_keras_weights,
        save_keras_weights,
        to_keras_config,
    )
    from framecast.nn.peers import load_ndrplz, load_openstl
    from framecast.nn.series import subsequences
    from framecast.nn.stack import ConvLSTMStack
    from framecast.trained import LoadedForecaster, load_forecaster

__version__ = "0.1.0"

_HOMES = {
    "ConvLSTM1D": "framecast.nn.convlstm",
    "ConvLSTM2D": "framecast.nn.convlstm",
    "ConvLSTMStack": "framecast.nn.stack",
    "LoadedForecaster": "framecast.trained",
    "load_forecaster": "framecast.trained",
    "load_keras_layers": "framecast.nn.keras",
    "load_keras_weights": "framecast.nn.keras",
    "load_ndrplz": "framecast.nn.peers",
    "load_openstl": "framecast.nn.peers",
    "save_keras_weights": "framecast.nn.keras",
    "subsequences": "framecast.nn.series",
    "to_keras_config": "framecast.nn.keras",
}
__all__ = [
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTMStack",
    "LoadedForecaster",
    "__version__",
    "load_forecaster",
    "load_keras_layers",
    "load_keras_weights",
    "load_ndrplz",
    "load_openstl",
    "save_keras_weights",
    "subsequences",
    "to_keras_config",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that `import framecast` alone imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'framecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
