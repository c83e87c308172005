"""The sections of the settings: frozen dataclasses that declare everything about a setting.

Every setting is declared once, below: its type, default, range and one sentence. Help texts, error
messages and `framecast.yaml.example` are all made from that declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from framecast.config.brightness_scale import DECIMAL, SCALE_PATTERN, SCALE_TEXT
from framecast.config.fields import Section, setting
from framecast.config.networks import NETWORKS, NetworkTraits
from framecast.errors import ConfigError

PRETRAINED = "pretrained"
"""What the model that framecast ships is called; a folder of that name is ./pretrained."""

RANGE_PATTERN = rf"auto|full|({DECIMAL})\.\.({DECIMAL})"
RANGE_TEXT = "auto, full or LOW..HIGH such as 0..4095"

AXES_PATTERN = r"auto|[NTCHW]{3,5}"
AXES_TEXT = "auto or letters of N (clips) T (time) C (channels) H W in order, such as TNHW"


@dataclass(frozen=True)
class DataConfig(Section):
    """How clips become training and validation windows."""

    SECTION: ClassVar[str] = "data"

    # Motion needs two frames, and how it changes three; more help against noise
    context_length: int = setting(
        6, "Frames the model sees before it predicts.", at_least=1, flag="--context-length"
    )
    # Lead times, counted in steps of frame_step
    horizon: int | Literal["auto"] = setting(
        "auto",
        "Lead times trained and validated on; auto: 12, or fewer if clips with a quarter of the "
        "frames or more would be too short.",
        at_least=1,
        flag="--horizon",
    )
    frame_step: int = setting(
        1,
        "Distance between the frames inside a window, in frames.",
        at_least=1,
        flag="--frame-step",
    )
    stride: int = setting(1, "Distance between window starts, in frames.", at_least=1)
    # The end, not the middle: forecasts are asked for what comes after the training frames
    validation_fraction: float = setting(
        0.25,
        "Share of every clip's end, or of the clips, held out for validation.",
        above=0,
        below=1,
    )
    split: Literal["auto", "time", "clip"] = setting(
        "auto",
        "Hold out the end of every clip (time) or whole clips (clip); auto: clip from 5 clips "
        "on, or when no clip is long enough to be cut.",
    )
    # The newest, since what comes after a clip resembles its end
    max_frames: int | Literal["auto"] | None = setting(
        "auto",
        "Newest frames of each clip that are used; auto: all, or as many of as many clips as a "
        "fifth of train.minutes has time to read and half of the scratch disk has room for; none: "
        "all.",
        at_least=2,
    )
    # A window over a cut would teach what nobody can foresee
    scene_cuts: bool = setting(
        True, "Detect cuts to another scene in every clip, and let no window cross one."
    )
    color: Literal["auto", "gray", "rgb"] = setting(
        "auto",
        "Colours the model works in; auto: gray if the frames are stored gray, else rgb.",
        flag="--color",
    )
    # Time and memory grow with the square of a side
    resize: str = setting(
        "auto",
        "Frame size the model works at, or the most pixels a side may have; auto: 768, fewer "
        "with a budget below 5 minutes. Forecasts have the clip's own size.",
        pattern=r"auto|none|[1-9][0-9]*|[1-9][0-9]*x[1-9][0-9]*",
        pattern_text="auto, none, SIDE or HEIGHTxWIDTH such as 96x160",
        flag="--resize",
    )
    # Whole cells of every grid: 224 is 7 times 32 pixels
    crop: int = setting(
        224,
        "Side in pixels of the random crops for training; 0 trains on whole frames.",
        at_least=0,
        flag="--crop",
    )
    # Only left and right: gravity and shadows make up and down differ
    flip: bool = setting(True, "Mirror training windows at random.")
    turn: bool = setting(
        False,
        "Rotate training windows by half a turn at random, square ones by quarter turns, too; for "
        "frames without an up or down.",
    )
    zoom: bool = setting(True, "Enlarge or shrink training windows at random, by a third at most.")
    reverse: bool = setting(True, "Play training windows backwards at random.")
    # Pixel to unit, such as -10..60 dBZ; scores at thresholds need it
    scale: str | None = setting(
        None,
        "Physical values of black and full brightness, for thresholds in their unit; log: even "
        "steps of a pixel are even decibels.",
        pattern=SCALE_PATTERN,
        pattern_text=SCALE_TEXT,
    )
    # A 12-bit camera in 16-bit files would look black at the type's own range
    range: str = setting(
        "auto",
        "Stored values of black and full brightness, for clips with more than 8 bits, floats or "
        "signed integers; full: the range of the type, auto: from the values found.",
        pattern=RANGE_PATTERN,
        pattern_text=RANGE_TEXT,
        flag="--range",
    )
    # Moving MNIST is (T, N, H, W), most other arrays are (N, T, H, W, C) or (T, H, W)
    axes: str = setting(
        "auto",
        "Order of an array's axes; auto: from their lengths and from how alike neighbours are.",
        pattern=AXES_PATTERN,
        pattern_text=AXES_TEXT,
        flag="--axes",
    )
    variable: str | None = setting(
        None,
        "Array to read from files with several; none: all that are clips.",
        pattern=r"\S.*",
        pattern_text="the name of an array",
        flag="--variable",
    )
    keep_readable: bool = setting(
        False,
        "Keep the frames before a corrupt one, and leave out clips of which nothing can be used, "
        "instead of stopping with an error.",
        flag="--keep-readable",
    )


@dataclass(frozen=True)
class ModelConfig(Section):
    """The network."""

    SECTION: ClassVar[str] = "model"

    name: Literal[tuple(NETWORKS)] = setting(
        "flow-convlstm",
        "Architecture; flow-convlstm blends extrapolations along the context's motion, convlstm "
        "predicts changes and frame-convlstm whole frames, shi2015 is the network of the ConvLSTM "
        "paper, cnn-lstm and fc-lstm are tied to one frame size.",
        flag="--model",
    )
    # A layer's weights grow with (C + F) F k^2, its states with F
    filters: tuple[int, ...] = setting(
        (64, 96),
        "Hidden channels, one ConvLSTM2D layer for each number; in cnn-lstm of the grid before "
        "the LSTM (first) and after it (last); unused by fc-lstm.",
        at_least=1,
    )
    # Odd, so that a kernel has a middle cell and 'same' padding shifts nothing
    kernel_size: int | tuple[int, ...] = setting(
        3,
        "Side of the ConvLSTM2D layers' kernels, in cells, or a list with one for each layer; "
        "unused by cnn-lstm and fc-lstm.",
        at_least=1,
        odd=True,
    )
    # Powers of two: the stem halves the resolution with each convolution
    patch: Literal[1, 2, 4, 8, 16] = setting(
        8,
        "Side in pixels of one cell of the network's grid; always 8 in flow-convlstm and 4 in "
        "shi2015, unused by fc-lstm.",
    )
    units: tuple[int, ...] = setting(
        (256,), "Units of cnn-lstm and fc-lstm, one LSTM layer for each number.", at_least=1
    )
    # Shi et al. 2015, table 1, has rows with 9x9 inputs and 1x1 states
    recurrent_kernel_size: int | None = setting(
        None,
        "Side of the kernels over the state in shi2015; none: as kernel_size.",
        at_least=1,
        odd=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given, sized = self.kernel_size, self.traits.tied_to_size
        # LSTMs have no kernels, so their number of filters says nothing about a list of them
        if isinstance(given, tuple) and not sized and len(given) != len(self.filters):
            raise ConfigError(
                f"model.kernel_size: expected a list of {len(self.filters)}, one for each layer of "
                f"model.filters {list(self.filters)}, got {list(given)}",
                remedy="give one integer for all layers, or as many as there are filters",
            )

    @property
    def traits(self) -> NetworkTraits:
        """Properties of the network."""
        return NETWORKS[self.name]

    @property
    def recurrent_kernel_sizes(self) -> tuple[int, ...]:
        """Side of the kernels over each layer's state."""
        sizes = self.kernel_sizes
        own = self.recurrent_kernel_size
        return sizes if own is None or self.name != "shi2015" else (own,) * len(sizes)

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Side of each layer's kernel; 1 if the layers are LSTMs."""
        if self.traits.tied_to_size:
            return (1,) * len(self.units)
        given = self.kernel_size
        return given if isinstance(given, tuple) else (given,) * len(self.filters)


@dataclass(frozen=True)
class TrainConfig(Section):
    """The training loop."""

    SECTION: ClassVar[str] = "train"

    # People know how long they can wait, and not how many epochs a clip needs
    minutes: float | None = setting(
        10.0, "Wall-clock budget in minutes; none: no limit.", above=0, flag="--minutes"
    )
    epochs: int | None = setting(
        None, "Number of epochs; none: no limit.", at_least=1, flag="--epochs"
    )
    # An epoch of a single clip would be a few steps, and validation most of the time
    steps_per_epoch: int | Literal["auto"] = setting(
        "auto",
        "Optimizer steps between two validations; auto: by the number of windows.",
        at_least=1,
    )
    patience: int | None = setting(
        20,
        "Epochs without a better validation before stopping; none: never.",
        at_least=1,
        flag="--patience",
    )
    batch_size: int | Literal["auto"] = setting(
        "auto",
        "Windows per optimizer step; auto: 2 to 16, by the size of the crops.",
        at_least=1,
        flag="--batch-size",
    )
    # Shi et al. 2015, section 4: RMSProp with a learning rate of 1e-3
    optimizer: Literal["adamw", "rmsprop"] = setting(
        "adamw", "Optimizer; rmsprop, with decay 0.9, is that of the ConvLSTM paper."
    )
    from_scratch: bool = setting(
        False, "Start from random weights instead of the pretrained ones.", flag="--from-scratch"
    )
    weights: str = setting(
        PRETRAINED,
        "Model whose network and weights a new run starts from.",
        pattern=r"\S.*",
        pattern_text="pretrained, a run or a .pt file",
        flag="--weights",
    )
    lr: float = setting(1e-3, "Highest learning rate.", above=0, flag="--lr")
    weight_decay: float = setting(1e-4, "Weight decay of the optimizer.", at_least=0)
    # Back through 18 steps of a recurrence, single gradients are huge
    clip_norm: float = setting(1.0, "Largest norm of the gradient of one step.", above=0)
    loss: Literal["skill", "mse", "mae", "mix", "bce"] = setting(
        "skill",
        "Training loss: skill, the log of 1 + the squared error relative to persistence's; "
        "mean squared error, mean absolute error, their sum (mix), or binary cross-entropy, only "
        "for frame-convlstm and shi2015.",
    )
    # 0.98 averages over about 1 / (1 - 0.98) = 50 steps
    ema: float = setting(
        0.98,
        "Decay of the averaged weights that are validated and saved; 0: off.",
        at_least=0,
        below=1,
    )
    # NumPy's and PyTorch's generators both take 32 bits
    seed: int = setting(
        0, "Seed of weights, windows and augmentation.", at_least=0, below=2**32, flag="--seed"
    )
    device: str = setting(
        "auto",
        "Where to train; auto: cuda, then mps, then cpu.",
        pattern=r"auto|cpu|cuda(:[0-9]+)?|mps",
        pattern_text="auto, cpu, cuda, cuda:N or mps",
        flag="--device",
    )
    # CPUs without instructions for bfloat16 emulate it, slower than float32
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Arithmetic of the network; auto: bfloat16 autocast on cuda, float32 elsewhere; training "
        "on CPUs with bfloat16 takes what is faster.",
    )
    tensorboard: bool = setting(
        False, "Log the run for TensorBoard, in its folder.", flag="--tensorboard"
    )
