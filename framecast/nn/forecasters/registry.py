"""The networks by their names in `model.name`."""

from __future__ import annotations

from collections.abc import Callable

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.comparison import CnnLstm, FcLstm, Shi2015
from framecast.nn.forecasters.convlstm import FrameConvLSTM, PlainConvLSTM
from framecast.nn.forecasters.flow.network import FlowConvLSTM

FORECASTERS: dict[str, Callable[..., Forecaster]] = {
    "flow-convlstm": FlowConvLSTM,
    "convlstm": PlainConvLSTM,
    "frame-convlstm": FrameConvLSTM,
    "cnn-lstm": CnnLstm,
    "fc-lstm": FcLstm,
    "shi2015": Shi2015,
}


def build_forecaster(config: ModelConfig, channels: int, size: tuple[int, int]) -> Forecaster:
    """Construct the network `model.name` asks for, for frames of 1 (grey) or 3 (RGB) channels.

    `size` is the (H, W) of the frames it is trained on; only networks tied to their frame size,
    cnn-lstm and fc-lstm, depend on it. Weights are float32, whatever PyTorch's default is.
    """
    network = FORECASTERS[config.name]
    tied = (size,) if config.traits.tied_to_size else ()
    return network(config, channels, *tied).float()
