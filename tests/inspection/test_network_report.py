"""inspect-shapes of clips and settings: tensors as they really are, refusals and warnings."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from framecast.config.loading import Config, load_config
from framecast.data.batches import training_batches
from framecast.data.decoding import decode_clips
from framecast.data.plan import make_plan
from framecast.errors import CheckpointError, ConfigError, SourceError, UsageError
from framecast.inspection.network_report import inspect_clips, inspect_target
from framecast.inspection.tensor_table import details, row, tensor_dict
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint, save_checkpoint
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.video.readers.base import SourceInfo
from framecast.video.readers.open import open_source

T, C, H, W = 40, 3, 37, 50
SETTINGS = ("data.resize=21x34", "data.crop=19", "data.horizon=4", "data.context_length=3")
SMALL = ("model.filters=5,7", "model.patch=4", "train.batch_size=2")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.npy"
    np.save(path, np.random.default_rng(0).integers(0, 2**16, (T, H, W, C), np.uint16))
    return path


@pytest.fixture
def model(tmp_path):
    config = load_config(None, (*SETTINGS, *SMALL, "train.device=cpu"), {})
    torch.manual_seed(0)
    weights = build_forecaster(config.model, C, (21, 34)).state_dict()
    path = tmp_path / "model.pt"
    save_checkpoint(
        path, Checkpoint(config, {"channels": C, "height": 21, "width": 34}, weights, {})
    )
    return path


def info(**changes):
    base = SourceInfo(Path("clip"), "folder", T, H, W, 1)
    return replace(base, **changes)


def lines_of(inspection):
    sections = inspection.sections.items()
    return {(title.split(" ")[0], line.name): line for title, lines in sections for line in lines}


def shape(line):
    return tuple(length for _, length in line.output)


def test_data_lines_are_what_the_data_set_gives(clip):
    config = load_config(None, (*SETTINGS, *SMALL), {})
    source = open_source(clip)
    plan = make_plan([source.info], config)
    decoded = decode_clips([source], plan.sizes, {0})
    batch = next(
        training_batches(
            decoded,
            plan.split.train,
            plan.split.shape,
            batch_size=plan.batch_size,
            crop=plan.crop,
            changes=config.data,
            seed=0,
        )
    )
    lines = lines_of(inspect_target(clip, None, (*SETTINGS, *SMALL)))
    assert shape(lines["clips", "clip.npy"]) == (T, C, H, W)
    assert tensor_dict(lines["clips", "clip.npy"])["bytes"] == 2 * T * C * H * W
    last = tensor_dict(lines["clips", "frames"])
    assert tuple(last["channels_last"].values()) == decoded[0].shape
    assert shape(lines["training", "context"]) == tuple(batch.context_BTCHW.shape)
    assert shape(lines["training", "target"]) == tuple(batch.target_BTCHW.shape)
    windows = lines["windows", "window"]
    assert shape(windows) == (7, C, 21, 34)
    train, held_out = len(plan.split.train), len(plan.split.validation)
    counts = f"{train} to train on, {held_out} held out by time, fewer if scenes are cut"
    assert windows.operation == f"3 + 4 frames, 7 on the time axis; {counts}"


def test_prediction_lines_are_what_prediction_gives(clip, model):
    source = open_source(clip)
    frames_THWC = np.stack(list(source.read(0, 3)))
    predicted = load_forecaster(model, "cpu").predict(frames_THWC, 4)
    lines = lines_of(inspect_target(clip, None, (*SETTINGS, *SMALL)))
    output = lines["prediction", "output"]
    assert tuple(tensor_dict(output)["channels_last"].values()) == predicted.shape
    assert output.dtype == str(predicted.dtype)
    assert output.operation == "pixels, scaled back to the clip's own size"
    assert lines["prediction", "pad_to_grid"].padding == (0, 11, 0, 14)  # cells of 16


def test_a_model_is_inspected_with_its_own_settings_and_channels(model):
    inspection = inspect_target(model)
    lines = lines_of(inspection)
    assert shape(lines["prediction", "context"]) == (1, 3, C, 21, 34)
    parameters = sum(weight.numel() for weight in load_forecaster(model).network.parameters())
    assert inspection.to_dict()["figures"]["parameters"] == parameters
    assert inspection.notes == ()
    other = lines_of(inspect_target(model, frame="60x40"))
    assert shape(other["prediction", "context"])[-2:] == (21, 34)  # data.resize of the model
    with pytest.raises(UsageError, match=r"--channels 1: .*model.pt was trained on 3"):
        inspect_target(model, channels=1)
    with pytest.raises(UsageError, match="brings its own settings"):
        inspect_target(model, None, ["model.patch=2"])


def test_settings_alone_assume_a_size_and_say_so(tmp_path):
    path = tmp_path / "framecast.yaml"
    path.write_text("data: {crop: 0}\nmodel: {patch: 4}\n")
    inspection = inspect_target(path)
    assert shape(lines_of(inspection)["prediction", "context"]) == (1, 6, 1, 64, 64)
    assert len(inspection.notes) == 3
    assert "64 x 64 pixels assumed" in inspection.notes[0]
    given = inspect_target(path, None, ["data.horizon=2"], "48x72", 3)
    assert shape(lines_of(given)["training", "target"]) == (14, 2, 3, 48, 72)
    assert given.notes == ()


def test_small_networks_have_a_cost_that_is_not_rounded_to_nothing():
    inspection = inspect_target(None, None, ["model.name=fc-lstm"], "7x5")
    macs = inspection.to_dict()["figures"]["prediction_macs"]
    assert 1e6 < macs < 1e7
    assert f"{macs / 1e6:.2f} million multiply-adds to predict one clip" in {
        sentence for _, _, sentence in inspection.figures
    }


def test_both_channel_orders_hold_the_same_axes_everywhere(clip):
    for lines in inspect_target(clip, None, SETTINGS).sections.values():
        for line in lines:
            first, last = (tensor_dict(line)[f"channels_{order}"] for order in ("first", "last"))
            assert first == last  # as mappings, which have no order
            spatial = [letter for letter in last if letter in "HW"]
            assert spatial == ["H", "W"]
            assert list(last)[-1] in "CEF"
            assert list(first)[-2:] == ["H", "W"]


def test_text_and_json_of_one_line(clip):
    inspection = inspect_target(clip, None, (*SETTINGS, *SMALL, "model.name=convlstm"))
    step = next(lines for title, lines in inspection.sections.items() if "step" in title)
    line = next(line for line in step if line.name == "stem.0")
    operation = "Conv2d 3x3, stride 2, 4 times, padding 1 on each side"
    assert row(line) == ("stem.0", "B=2 E=5 H=10 W=10", "140", operation)
    assert [*details(line)] == [
        "channels last B=2 H=10 W=10 E=5, 4.0 kB",
        "weight 5 x 3 x 3 x 3 = 135",
        "bias 5 = 5",
    ]
    found = json.loads(json.dumps(inspection.to_dict()))
    steps = next(section for section in found["sections"] if "step" in section["title"])
    stem = next(tensor for tensor in steps["tensors"] if tensor["name"] == "stem.0")
    assert stem["input"] == {"B": 2, "C": 3, "H": 20, "W": 20}
    assert stem["channels_last"] == {"B": 2, "H": 10, "W": 10, "E": 5}
    assert stem["parameters"] == {"weight": [5, 3, 3, 3], "bias": [5]}
    assert stem["macs"] == 2 * 10 * 10 * 5 * 3 * 9
    assert stem["bytes"] == 4 * 2 * 5 * 10 * 10


@pytest.mark.parametrize(
    ("infos", "settings", "warning"),
    [
        ([info()], ["data.horizon=60"], "horizon 60 covers 66, .* the longest has 40"),
        (
            [info(), info(path=Path("short"), frames=5)],
            [],
            r"too short for a window of \d+ frames, not used: short; lower data.horizon",
        ),
        (
            [info(height=64, width=80)],
            ["data.crop=50"],
            "training crops of 50 x 50 are padded by 14 rows at the bottom and 14 columns at the "
            "right, since the coarsest cell of flow-convlstm is 16; data.crop=48 needs none",
        ),
        (
            [info(height=63, width=79)],
            [],
            "^frames of 63 x 79 are padded by 1 row at the bottom and 1 column at the right, ",
        ),
        (
            [info()],
            [],
            "^frames of 37 x 50 are padded by 11 rows at the bottom and 14 columns at the right, "
            ".*; data.resize=32x48 needs none",
        ),
        (
            [info(height=1000, width=1500)],
            ["data.resize=none"],
            "^frames of 1000 x 1500 are padded by 24 rows at the bottom and 36 columns at the "
            "right, since the coarsest cell of flow-convlstm is 64; data.resize=960x1472 needs",
        ),
        (
            [info(height=9)],
            ["model.name=convlstm", "model.patch=16"],
            "^frames of 9 x 50 .* since model.patch is 16; use larger frames or a smaller "
            "model.patch",
        ),
        ([info(height=9)], [], "9 x 50 pixels are 2 x 7 cells, less than the 3 x 3 kernel covers"),
        ([info()], ["data.context_length=1"], "one context frame shows no motion"),
    ],
)
def test_warnings_say_what_is_wrong_and_how_to_fix_it(infos, settings, warning):
    found = inspect_clips(infos, load_config(None, settings, {})).warnings
    assert [text for text in found if re.search(warning, text)], found


def test_no_warning_without_cause():
    inspection = inspect_clips([info(height=64, width=80)], Config())
    assert inspection.warnings == ()


def test_clips_alike_share_a_line_and_others_get_their_own():
    clips = [info(path=Path(f"{n}"), height=64 + 8 * (n == 3), width=80) for n in range(4)]
    names = [line.name for line in inspect_clips(clips, Config()).sections["clips"]]
    assert names == ["0", "frames", "3", "frames"]
    first = inspect_clips(clips, Config()).sections["clips"][0]
    assert first.operation == "folder and 2 more clips like it"
    first = inspect_clips(clips[:2], Config()).sections["clips"][0]
    assert first.operation == "folder and 1 more clip like it"


def test_wrong_calls_are_refused(clip, tmp_path):
    settings = tmp_path / "a.yaml"
    settings.write_text("")
    with pytest.raises(UsageError, match="--channels 2: frames have 1"):
        inspect_target(None, channels=2)
    with pytest.raises(ConfigError, match="--size: expected HEIGHTxWIDTH, got '64'"):
        inspect_target(None, frame="64")
    with pytest.raises(UsageError, match=r"stand in for frames, and .*clip\.npy is given"):
        inspect_target(clip, frame="64x64")
    with pytest.raises(UsageError, match="two settings files"):
        inspect_target(settings, settings)
    with pytest.raises(CheckpointError, match="no such file"):
        inspect_target(tmp_path / "none.pt")
    with pytest.raises(SourceError, match="none"):
        inspect_target(tmp_path / "none")
    with pytest.raises(SourceError, match="one is grey and two is in colour"):
        inspect_clips([info(path=Path("one")), info(path=Path("two"), channels=3)], Config())


def test_what_an_error_suggests_for_grey_and_colour_clips_helps(run, clips, tmp_path):
    for name in ("grey.npy", "color.mp4"):
        (tmp_path / name).symlink_to(clips / name)
    code, _, err = run("inspect-shapes", tmp_path)
    assert (code, "--set data.color=gray or" in err) == (3, True), err
    assert run("inspect-shapes", tmp_path, "--set", "data.color=gray")[0] == 0
