"""What is exported, chosen by names; frames converted, read back and refused."""

import cv2
import numpy as np
import pytest
import torch

from framecast.errors import (
    CheckpointError,
    ConfigError,
    ExportMismatchError,
    OutputError,
    UsageError,
)
from framecast.export import frames as frames_module
from framecast.export.export import export
from framecast.export.request import ExportRequest as Request
from framecast.prediction.checkpoint import save_checkpoint
from framecast.video.frame_style import color_table
from framecast.video.readers.open import open_source
from tests.export.test_model import make_checkpoint, waves
from tests.support.media import smooth_clip


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    save_checkpoint(folder / "best.pt", make_checkpoint())
    return folder


@pytest.fixture
def clip(tmp_path):
    frames_THWC = np.random.default_rng(5).integers(0, 256, (6, 9, 11, 3), dtype=np.uint8)
    np.save(tmp_path / "clip.npy", frames_THWC)
    return tmp_path / "clip.npy"


@pytest.fixture
def smooth(tmp_path):
    np.save(tmp_path / "smooth.npy", smooth_clip(6, 32, 44))
    return tmp_path / "smooth.npy"


def test_a_run_folder_is_exported_with_its_options(tmp_path, run_folder):
    path = tmp_path / "model.torchscript"
    report = export(run_folder, [path], Request(horizon=4, size="16x24"))
    assert report.paths == (path,)
    assert torch.jit.load(path)(waves(2, height=16, width=24)).shape == (2, 4, 1, 16, 24)


@pytest.mark.parametrize(("name", "black", "white"), [("uint16", 0, 4095), ("float32", -3, 60)])
@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_scaled_frames_keep_type_and_values(tmp_path, name, black, white, suffix):
    clip_THW = np.linspace(black, white, 5 * 9 * 11).reshape(5, 9, 11).astype(name)
    np.save(tmp_path / "clip.npy", clip_THW)
    for factor in (2, 0.5):
        path = tmp_path / f"{factor}.{suffix}"
        export(tmp_path / "clip.npy", [path], Request(enlarge=factor))
        found_THWC = np.stack(list(open_source(path).read_values()))
        assert found_THWC.dtype == name
        if factor == 2:
            expected_THW = clip_THW.repeat(2, axis=1).repeat(2, axis=2)
            np.testing.assert_allclose(found_THWC[..., 0], expected_THW, atol=(white - black) / 6e4)
        else:
            assert found_THWC.mean() == pytest.approx(clip_THW.mean(), rel=0.05)


@pytest.mark.parametrize("target", ["out.npy", "out/"])
def test_frames_are_converted_exactly(tmp_path, clip, target):
    report = export(clip, [f"{tmp_path}/{target}"], Request())
    assert report.notes == ("read back: 6 frames, all exact",)
    frames_THWC = np.stack(list(open_source(report.paths[0]).read()))
    np.testing.assert_array_equal(frames_THWC, np.load(clip))


def test_frames_become_a_video_at_the_rate_asked_for_or_a_named_default(tmp_path, smooth):
    report = export(smooth, [tmp_path / "out.gif"], Request(fps=4))
    info = open_source(tmp_path / "out.gif").info
    assert (info.frames, info.fps) == (6, pytest.approx(4))
    # So few colours that the palette holds them all.
    assert report.notes == ("read back: 6 frames, all exact",)

    again = export(tmp_path / "out.gif", [tmp_path / "again.mp4"], Request())
    assert again.notes[-1].startswith("read back: 6 frames, PSNR")
    assert float(again.notes[-1].split()[-2]) > 25
    assert open_source(again.paths[0]).info.fps == pytest.approx(4)

    unknown = export(smooth, [tmp_path / "unknown.gif"], Request())
    assert (
        unknown.notes[0]
        == f"{smooth} has no frame rate: 10 per second is assumed, --fps sets another"
    )
    with pytest.raises(OutputError, match="exists already"):
        export(smooth, [tmp_path / "out.gif"], Request())


def test_colours_labels_and_size_are_painted_as_asked(tmp_path, smooth):
    grey = np.load(smooth)[..., :1]
    np.save(tmp_path / "grey.npy", grey)
    flags = Request(colormap="viridis", enlarge=2)
    export(tmp_path / "grey.npy", [tmp_path / "out.npy"], flags)
    found = np.load(tmp_path / "out.npy")
    expected = color_table("viridis")[grey[..., 0]].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(found, expected)

    flags = Request(colormap="radar", value_scale="-10..60 dBZ", labels=True, step_minutes=5)
    export(tmp_path / "grey.npy", [tmp_path / "radar.npy"], flags)
    found = np.load(tmp_path / "radar.npy")
    frames, height, width, channels = found.shape
    assert (frames, channels) == (6, 3)
    assert height > grey.shape[1]  # a line of text above
    assert width > grey.shape[2]  # a legend at the right
    assert (found[0, : height - grey.shape[1]] != found[1, : height - grey.shape[1]]).any()


def test_a_sheet_shows_frames_from_the_first_to_the_last(tmp_path, clip):
    report = export(clip, [tmp_path / "sheet.png"], Request())
    sheet = cv2.imread(str(report.paths[0]))[..., ::-1]
    frames = np.load(clip)
    height, width = frames.shape[1:3]
    np.testing.assert_array_equal(sheet[:height, :width], frames[0])
    columns = (sheet.shape[1] + 4) // (width + 4)
    row, column = divmod(5, columns)
    top, left = row * (height + 4), column * (width + 4)
    np.testing.assert_array_equal(sheet[top : top + height, left : left + width], frames[5])
    with pytest.raises(OutputError, match="exists already"):
        export(clip, [tmp_path / "sheet.png"], Request())


def test_a_sheet_of_few_tall_frames_has_no_empty_column(tmp_path):
    np.save(tmp_path / "tall.npy", np.full((3, 100, 20), 200, np.uint8))
    report = export(tmp_path / "tall.npy", [tmp_path / "sheet.png"], Request())
    assert cv2.imread(str(report.paths[0])).shape[:2] == (100, 3 * 24 - 4)


def test_frames_that_come_back_as_others_are_an_error(tmp_path, clip, monkeypatch):
    other = tmp_path / "other.npy"
    np.save(other, 255 - np.load(clip))
    monkeypatch.setattr(frames_module, "open_source", lambda path, color: open_source(other))
    with pytest.raises(ExportMismatchError, match="frames come back with a PSNR of"):
        export(clip, [tmp_path / "out.gif"], Request())
    np.save(other, np.load(clip)[:4])
    with pytest.raises(ExportMismatchError, match="of 6 frames written 4 can be read back"):
        export(clip, [tmp_path / "out.mp4"], Request())


@pytest.mark.parametrize(
    ("source", "target", "request_", "error", "text"),
    [
        ("run", "out.onnx", Request(fps=3), UsageError, "--fps is for frames"),
        (
            "run",
            "out.pt2",
            Request(size="big"),
            ConfigError,
            "--size: expected HEIGHTxWIDTH, got",
        ),
        ("run", "out.gif", Request(), UsageError, r"out.gif: a model cannot .*\.onnx"),
        (
            "run/best.pt",
            "out",
            Request(),
            UsageError,
            "a model cannot become a file of this kind",
        ),
        ("clip.npy", "out.gif", Request(horizon=3), UsageError, "--horizon is for models"),
        (
            "clip.npy",
            "o.gif",
            Request(context_length=3),
            UsageError,
            "--context-length is for mod",
        ),
        ("clip.npy", "out.gif", Request(size="3x4"), UsageError, "--size is for models"),
        ("clip.npy", "out.gif", Request(step=True), UsageError, "--step is for models"),
        ("run", "out.onnx", Request(labels=True), UsageError, "--labels is for frames"),
        ("clip.npy", "o.gif", Request(colormap="gray"), UsageError, "is for grey frames"),
        ("clip.npy", "o.gif", Request(colormap="virids"), UsageError, "did you mean viridis"),
        ("clip.npy", "o.gif", Request(colormap="radar"), UsageError, "what pixels mean in dBZ"),
        ("clip.npy", "o.gif", Request(enlarge=0), UsageError, "a factor of 0.05 to 16"),
        (
            "clip.npy",
            "out.onnx",
            Request(),
            CheckpointError,
            "clip.npy: damaged, or not a model",
        ),
    ],
)
def test_options_that_do_not_fit_what_is_exported_are_refused(
    tmp_path, run_folder, clip, source, target, request_, error, text
):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=text):
        export(tmp_path / source, [tmp_path / target], request_)
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_whose_weights_do_not_fit_is_named(tmp_path):
    model = make_checkpoint()
    model.weights["own"] = torch.zeros(1)
    save_checkpoint(tmp_path / "odd.pt", model)
    with pytest.raises(
        CheckpointError, match=rf"^{tmp_path}/odd\.pt: the weights do not .* own is"
    ):
        export(tmp_path / "odd.pt", [tmp_path / "out.safetensors"], Request())
    assert [path.name for path in tmp_path.iterdir()] == ["odd.pt"]


def test_several_outputs_are_checked_before_the_first_is_written(tmp_path, clip):
    outputs = [tmp_path / name for name in ("a.npy", "b.gif", "c.png")]
    report = export(clip, outputs, Request(fps=5))
    assert report.paths == tuple(outputs)
    told = [note.partition(": ")[0] for note in report.notes]
    assert told == ["a.npy", "b.gif"]
    more = [tmp_path / "d.npy", tmp_path / "b.gif"]
    with pytest.raises(OutputError, match=r"b\.gif"):
        export(clip, more, Request(fps=5))
    with pytest.raises(UsageError, match="an output is named twice"):
        export(clip, [more[0]] * 2, Request(fps=5))
    with pytest.raises(UsageError, match=r"d\.npy: a model cannot become"):
        export(clip, [tmp_path / "m.onnx", more[0]], Request())
    assert not more[0].exists()


def test_a_model_goes_into_several_files(tmp_path, run_folder):
    outputs = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    assert export(run_folder, outputs, Request()).paths == tuple(outputs)
    assert all(path.stat().st_size > 1000 for path in outputs)


def test_an_array_is_read_as_its_axes_are_named(tmp_path, clip):
    frames = np.load(clip)
    np.save(tmp_path / "b.npy", np.moveaxis(frames, 0, 2))
    export(tmp_path / "b.npy", [tmp_path / "c.npy"], Request(axes="HWTC"))
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), frames)


def test_an_array_is_painted_in_the_range_given(tmp_path):
    values = np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6) * 20
    np.save(tmp_path / "a.npy", values)
    export(tmp_path / "a.npy", [tmp_path / "b"], Request(range="200..1220"))
    frames = np.stack(
        [cv2.imread(path, cv2.IMREAD_UNCHANGED) for path in sorted((tmp_path / "b").iterdir())]
    )
    expected = np.clip((values - 200) / 1020, 0, 1)
    np.testing.assert_allclose(frames / np.iinfo(frames.dtype).max, expected, atol=1e-4)
