"""framecast predicts the next frames of a video or frame sequence.

Axes, as suffixes of array names: B batch, T time, C channels, H rows, W columns, F filters. On disk
frames are uint8 or uint16 (T, H, W, C); in the model they are float32 (B, T, C, H, W) in [0, 1].
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framecast.nn.convlstm import ConvLSTM1D, ConvLSTM2D
    from framecast.prediction import LoadedForecaster, load_forecaster

__version__ = "0.1.0"

_HOMES = {
    "ConvLSTM1D": "framecast.nn.convlstm",
    "ConvLSTM2D": "framecast.nn.convlstm",
    "LoadedForecaster": "framecast.prediction",
    "load_forecaster": "framecast.prediction",
}
__all__ = ["ConvLSTM1D", "ConvLSTM2D", "LoadedForecaster", "__version__", "load_forecaster"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that `import framecast` alone imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'framecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
