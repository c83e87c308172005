"""The sections of the settings: frozen dataclasses whose fields say all there is about a setting.

Every setting is declared once, below: its type, default, range and one sentence. Help texts, error
messages and `framecast.yaml.example` are all made from that declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from framecast.config.brightness_scale import NUMBER, SCALE_PATTERN, SCALE_TEXT
from framecast.config.fields import Rule, Section
from framecast.config.networks import NETWORKS, NetworkTraits
from framecast.errors import ConfigError

RANGE_PATTERN = rf"auto|full|({NUMBER})\.\.({NUMBER})"
RANGE_TEXT = "auto, full or LOW..HIGH such as 0..4095"

AXES_PATTERN = r"auto|[NTCHW]{3,5}"
AXES_TEXT = "auto or letters of N (clips) T (time) C (channels) H W in order, such as TNHW"


@dataclass(frozen=True)
class DataConfig(Section):
    """How clips become training and validation windows."""

    SECTION: ClassVar[str] = "data"

    context_length: Annotated[
        int, Rule("Frames the model sees before it predicts.", at_least=1, flag="--context-length")
    ] = 6
    horizon: Annotated[
        int | Literal["auto"],
        Rule(
            "Lead times trained and validated on; auto: 12, or fewer where clips with a quarter "
            "of the frames or more would be too short.",
            at_least=1,
            flag="--horizon",
        ),
    ] = "auto"
    frame_step: Annotated[
        int,
        Rule(
            "Distance between the frames inside a window, in frames.",
            at_least=1,
            flag="--frame-step",
        ),
    ] = 1
    stride: Annotated[int, Rule("Distance between window starts, in frames.", at_least=1)] = 1
    validation_fraction: Annotated[
        float,
        Rule(
            "Share of every clip's end, or of the clips, held out for validation.", above=0, below=1
        ),
    ] = 0.25
    split: Annotated[
        Literal["auto", "time", "clip"],
        Rule(
            "Hold out the end of every clip (time) or whole clips (clip); auto: clip from 5 clips "
            "on, or when no clip is long enough to be cut."
        ),
    ] = "auto"
    scene_cuts: Annotated[
        bool,
        Rule("Look for cuts to another scene in every clip, and let no window go across one."),
    ] = True
    color: Annotated[
        Literal["auto", "gray", "rgb"],
        Rule(
            "Colours the model works in; auto: gray when the frames are stored gray, else rgb.",
            flag="--color",
        ),
    ] = "auto"
    resize: Annotated[
        str,
        Rule(
            "Frame size the model works at, or the most pixels a side may have; auto: 768, fewer "
            "with a budget below 5 minutes. Forecasts have the clip's own size.",
            pattern=r"auto|none|[1-9][0-9]*|[1-9][0-9]*x[1-9][0-9]*",
            pattern_text="auto, none, SIDE or HEIGHTxWIDTH such as 96x160",
            flag="--resize",
        ),
    ] = "auto"
    crop: Annotated[
        int,
        Rule(
            "Side in pixels of the random squares trained on; 0 trains on whole frames.",
            at_least=0,
            flag="--crop",
        ),
    ] = 224
    flip: Annotated[bool, Rule("Mirror training windows at random.")] = True
    turn: Annotated[
        bool,
        Rule(
            "Turn training windows upside down and, where what is trained on is square, by quarter "
            "turns at random, for frames that have no up."
        ),
    ] = False
    scale: Annotated[
        str | None,
        Rule(
            "What black and full brightness stand for, for thresholds in physical units; log: even "
            "steps of a pixel are even decibels.",
            pattern=SCALE_PATTERN,
            pattern_text=SCALE_TEXT,
        ),
    ] = None
    range: Annotated[
        str,
        Rule(
            "Values that are black and full brightness, of clips with more than 8 bits, floats or "
            "signed integers; full: all that the type holds, auto: told from the values.",
            pattern=RANGE_PATTERN,
            pattern_text=RANGE_TEXT,
            flag="--range",
        ),
    ] = "auto"
    axes: Annotated[
        str,
        Rule(
            "Order of an array's axes; auto: told from their lengths and from what is alike.",
            pattern=AXES_PATTERN,
            pattern_text=AXES_TEXT,
            flag="--axes",
        ),
    ] = "auto"
    variable: Annotated[
        str | None,
        Rule(
            "Array to read from files that hold several; none: all that are clips.",
            pattern=r"\S.*",
            pattern_text="the name of an array",
            flag="--variable",
        ),
    ] = None
    keep_readable: Annotated[
        bool,
        Rule(
            "Keep the frames before a corrupt one instead of stopping with an error.",
            flag="--keep-readable",
        ),
    ] = False


@dataclass(frozen=True)
class ModelConfig(Section):
    """The network."""

    SECTION: ClassVar[str] = "model"

    name: Annotated[
        Literal[tuple(NETWORKS)],
        Rule(
            "Architecture; flow-convlstm mixes extrapolations along the context frames' motion, "
            "convlstm paints changes and frame-convlstm frames, "
            "shi2015 is the network of the ConvLSTM paper, cnn-lstm and fc-lstm are tied to one "
            "frame size.",
            flag="--model",
        ),
    ] = "flow-convlstm"
    filters: Annotated[
        tuple[int, ...],
        Rule(
            "Hidden channels, one ConvLSTM2D layer for each number; in cnn-lstm of the grid before "
            "the LSTM (first) and after it (last); unused by fc-lstm.",
            at_least=1,
        ),
    ] = (64, 96)
    kernel_size: Annotated[
        int | tuple[int, ...],
        Rule(
            "Side of the ConvLSTM2D layers' kernels, in cells, or a list with one for each layer; "
            "unused by cnn-lstm and fc-lstm.",
            at_least=1,
            odd=True,
        ),
    ] = 3
    patch: Annotated[
        Literal[1, 2, 4, 8, 16],
        Rule(
            "Side of the square of pixels that is one cell of the network's grid; always 4 in "
            "shi2015, unused by fc-lstm."
        ),
    ] = 8
    units: Annotated[
        tuple[int, ...],
        Rule("Units of cnn-lstm and fc-lstm, one LSTM layer for each number.", at_least=1),
    ] = (256,)
    recurrent_kernel_size: Annotated[
        int | None,
        Rule(
            "Side of the kernels that the state goes through in shi2015; none: as kernel_size.",
            at_least=1,
            odd=True,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.kernel_size
        if (
            isinstance(given, tuple)
            and not self.traits.tied_to_size
            and len(given) != len(self.filters)
        ):
            raise ConfigError(
                f"model.kernel_size: expected a list of {len(self.filters)}, one for each layer of "
                f"model.filters {list(self.filters)}, got {list(given)}",
                remedy="give one integer for all layers, or as many as there are filters",
            )

    @property
    def traits(self) -> NetworkTraits:
        """What the network is like."""
        return NETWORKS[self.name]

    @property
    def recurrent_kernel_sizes(self) -> tuple[int, ...]:
        """Side of the kernels over each layer's state."""
        sizes = self.kernel_sizes
        own = self.recurrent_kernel_size
        return sizes if own is None or self.name != "shi2015" else (own,) * len(sizes)

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Side of each layer's kernel; 1 where the layers are LSTMs."""
        if self.traits.tied_to_size:
            return (1,) * len(self.units)
        given = self.kernel_size
        return given if isinstance(given, tuple) else (given,) * len(self.filters)


@dataclass(frozen=True)
class TrainConfig(Section):
    """The training loop."""

    SECTION: ClassVar[str] = "train"

    minutes: Annotated[
        float | None,
        Rule("Wall-clock budget in minutes; none: no limit.", above=0, flag="--minutes"),
    ] = 10.0
    epochs: Annotated[
        int | None, Rule("Number of epochs; none: no limit.", at_least=1, flag="--epochs")
    ] = None
    steps_per_epoch: Annotated[
        int | Literal["auto"],
        Rule("Optimizer steps between two validations; auto: chosen from the data.", at_least=1),
    ] = "auto"
    patience: Annotated[
        int | None,
        Rule(
            "Epochs without a better validation before stopping; none: never.",
            at_least=1,
            flag="--patience",
        ),
    ] = 20
    batch_size: Annotated[
        int | Literal["auto"],
        Rule(
            "Windows per optimizer step; auto: what the device holds.",
            at_least=1,
            flag="--batch-size",
        ),
    ] = "auto"
    optimizer: Annotated[
        Literal["adamw", "rmsprop"],
        Rule("Optimizer; rmsprop, with decay 0.9, is that of the ConvLSTM paper."),
    ] = "adamw"
    from_scratch: Annotated[
        bool,
        Rule(
            "Start from random weights, not from the pretrained ones that framecast ships.",
            flag="--from-scratch",
        ),
    ] = False
    lr: Annotated[
        float,
        Rule(
            "Highest learning rate; weights that are pretrained learn at 0.3 of it.",
            above=0,
            flag="--lr",
        ),
    ] = 1e-3
    weight_decay: Annotated[float, Rule("Weight decay of the optimizer.", at_least=0)] = 1e-4
    clip_norm: Annotated[float, Rule("Largest norm of the gradient of one step.", above=0)] = 1.0
    loss: Annotated[
        Literal["skill", "mse", "mae", "mix", "bce"],
        Rule(
            "Training loss: skill, the log of 1 + the squared error relative to persistence's; "
            "mean squared error, mean absolute error, their sum (mix), or binary cross-entropy, "
            "which is for frame-convlstm and shi2015 alone."
        ),
    ] = "skill"
    ema: Annotated[
        float,
        Rule(
            "Decay of the averaged weights that are validated and saved; 0: off.",
            at_least=0,
            below=1,
        ),
    ] = 0.98
    seed: Annotated[
        int,
        Rule("Seed of weights, windows and augmentation.", at_least=0, below=2**32, flag="--seed"),
    ] = 0
    device: Annotated[
        str,
        Rule(
            "Where to train; auto: cuda, then mps, then cpu.",
            pattern=r"auto|cpu|cuda(:[0-9]+)?|mps",
            pattern_text="auto, cpu, cuda, cuda:N or mps",
            flag="--device",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Rule("Arithmetic of the network; auto: bfloat16 autocast on cuda, float32 elsewhere."),
    ] = "auto"
    tensorboard: Annotated[
        bool, Rule("Log the run for TensorBoard, in its folder.", flag="--tensorboard")
    ] = False
