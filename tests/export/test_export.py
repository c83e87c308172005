"""Exported files, run as others would run them, give PyTorch's frames or are not there."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import framecast
from framecast.config.loading import load_config
from framecast.errors import (
    CheckpointError,
    ConfigError,
    ExportMismatchError,
    OutputError,
    UsageError,
)
from framecast.export import formats
from framecast.export.export import ExportRequest as Request
from framecast.export.export import export
from framecast.export.model import export_model, moving_blobs
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint, save_checkpoint
from framecast.video.readers.open import open_source

HEIGHT, WIDTH, CONTEXT, HORIZON = 22, 30, 3, 2
PACKAGE = str(Path(framecast.__file__).parent).encode()
NETWORKS = [
    ("flow-convlstm", 4, 3),
    ("flow-convlstm", 1, 1),
    ("convlstm", 4, 1),
    ("convlstm", 1, 3),
]


def make_checkpoint(name="convlstm", patch=4, channels=1):
    """A model in which no weights are zero, as the head's are, so that all reach the frames."""
    settings = [
        f"model.name={name}",
        f"model.patch={patch}",
        "model.filters=[3]",
        f"data.context_length={CONTEXT}",
        f"data.horizon={HORIZON}",
    ]
    config = load_config(None, settings, {})
    torch.manual_seed(7)
    network = build_forecaster(config.model, channels, (HEIGHT, WIDTH))
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(0, 0.3 if weight.ndim > 1 else 0.05)
    clip = {"channels": channels, "height": HEIGHT, "width": WIDTH}
    return Checkpoint(config, clip, network.state_dict(), {})


def waves(batch, length=CONTEXT, channels=1, height=HEIGHT, width=WIDTH):
    """Travelling waves, other ones in each sequence and channel, in [0.1, 0.9]."""
    b, t, c, y, x = np.ogrid[:batch, :length, :channels, :height, :width]
    phase = 0.35 * x + (0.2 + 0.1 * b) * y - (0.6 + 0.3 * b) * t + 1.3 * c
    return torch.from_numpy((0.5 + 0.4 * np.sin(phase)).astype(np.float32))


def in_pytorch(checkpoint, context_BTCHW, horizon=HORIZON):
    with torch.no_grad():
        frames_BTCHW = checkpoint.forecaster()(context_BTCHW, horizon)
    # Neither persistence nor a still: otherwise equality would say little.
    assert (frames_BTCHW - context_BTCHW[:, -1:]).abs().mean() > 0.01
    assert (frames_BTCHW[:, 1:] - frames_BTCHW[:, :-1]).abs().mean() > 0.005
    return frames_BTCHW.numpy()


def in_onnxruntime(path, context_BTCHW):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"context": context_BTCHW.numpy()})[0]


def assert_metadata(found, name, patch, channels):
    expected = {
        "framecast_version": framecast.__version__,
        "model": name,
        "context_length": "3",
        "horizon": "2",
        "frame_step": "1",
        "channels": str(channels),
        "color_order": {1: "gray", 3: "RGB"}[channels],
        "height": "22",
        "width": "30",
        "value_range": "[0, 1]",
        "axes": "batch, time, channels, height, width",
    }
    assert expected.items() <= dict(found).items()


@pytest.mark.parametrize(("name", "patch", "channels"), NETWORKS)
def test_onnx_gives_pytorchs_frames_at_any_batch_size(tmp_path, capfd, name, patch, channels):
    checkpoint, path = make_checkpoint(name, patch, channels), tmp_path / "model.onnx"
    report = export_model(checkpoint, path)
    assert capfd.readouterr() == ("", "")
    assert report.path == path
    assert report.difference < 1e-4
    assert list(tmp_path.iterdir()) == [path]

    for batch in (1, 3):
        context_BTCHW = waves(batch, channels=channels)
        expected = in_pytorch(checkpoint, context_BTCHW)
        found = in_onnxruntime(path, context_BTCHW)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
        assert 0 <= found.min() <= found.max() <= 1

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert_metadata(((p.key, p.value) for p in model.metadata_props), name, patch, channels)
    (given,), (returned,) = model.graph.input, model.graph.output
    assert (given.name, returned.name) == ("context", "frames")
    axes = [axis.dim_param or axis.dim_value for axis in given.type.tensor_type.shape.dim]
    assert axes == ["batch", CONTEXT, channels, HEIGHT, WIDTH]
    assert PACKAGE not in path.read_bytes(), "carries paths of the machine it was made on"


@pytest.mark.parametrize(("name", "patch", "channels"), NETWORKS[::3])
def test_torch_export_gives_pytorchs_frames_at_any_batch_size(
    tmp_path, capfd, name, patch, channels
):
    checkpoint, path = make_checkpoint(name, patch, channels), tmp_path / "model.pt2"
    report = export_model(checkpoint, path)
    assert capfd.readouterr() == ("", "")
    assert report.difference < 1e-5
    assert list(tmp_path.iterdir()) == [path]

    extra = {"framecast.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    assert_metadata(json.loads(extra["framecast.json"]), name, patch, channels)
    for batch in (1, 3):
        context_BTCHW = waves(batch, channels=channels)
        expected = in_pytorch(checkpoint, context_BTCHW)
        with torch.no_grad():
            found = module(context_BTCHW).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert PACKAGE not in path.read_bytes(), "carries paths of the machine it was made on"


@pytest.mark.parametrize(("name", "patch", "channels"), NETWORKS)
def test_torchscript_gives_pytorchs_frames_and_refuses_other_sizes(
    tmp_path, capfd, name, patch, channels
):
    checkpoint, path = make_checkpoint(name, patch, channels), tmp_path / "model.torchscript"
    report = export_model(checkpoint, path)
    assert capfd.readouterr() == ("", "")
    assert report.difference < 1e-5
    assert list(tmp_path.iterdir()) == [path]

    extra = {"framecast.json": ""}
    module = torch.jit.load(path, _extra_files=extra)
    assert_metadata(json.loads(extra["framecast.json"]), name, patch, channels)
    for batch in (1, 3):
        context_BTCHW = waves(batch, channels=channels)
        expected = in_pytorch(checkpoint, context_BTCHW)
        with torch.no_grad():
            found = module(context_BTCHW).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    for other in ({"length": 4}, {"height": 26}, {"width": 60}):
        with pytest.raises(torch.jit.Error, match=r"context must be .*\[3, \d, 22, 30\]; received"):
            module(waves(1, **{"channels": channels, **other}))


def test_horizon_context_and_size_can_be_chosen(tmp_path):
    checkpoint, path = make_checkpoint("flow-convlstm", 4, 1), tmp_path / "long.torchscript"
    report = export_model(checkpoint, path, horizon=5, context_length=4, size=(19, 45))
    context_BTCHW = waves(2, length=4, height=19, width=45)
    with torch.no_grad():
        found = torch.jit.load(path)(context_BTCHW).numpy()
    assert found.shape == (2, 5, 1, 19, 45)
    expected = in_pytorch(checkpoint, context_BTCHW, horizon=5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert report.notes[:2] == (
        "takes context (B, 4, 1, 19, 45), float32 in [0, 1], any B",
        "returns frames (B, 5, 1, 19, 45) in [0, 1]",
    )
    assert report.notes[2].startswith("differs from PyTorch by at most")


def off_by_a_little(frames_BTCHW):
    frames_BTCHW[-1, -1, 0, 3, 5] += 2e-3
    return frames_BTCHW


def not_a_number(frames_BTCHW):
    frames_BTCHW[0, 0, 0, 0, 0] = float("nan")
    return frames_BTCHW


DEFECTS = [
    off_by_a_little,
    not_a_number,
    lambda frames_BTCHW: frames_BTCHW[:1].expand_as(frames_BTCHW),  # right only at batch 1
    lambda frames_BTCHW: frames_BTCHW[:, :1],
]


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("earlier", [None, b"the user's"])
def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch, defect, earlier):
    load = formats.TorchScriptFormat.load

    def load_damaged(self, path):
        run = load(self, path)
        return lambda context_BTCHW: defect(run(context_BTCHW))

    monkeypatch.setattr(formats.TorchScriptFormat, "load", load_damaged)
    path = tmp_path / "model.torchscript"
    if earlier:
        path.write_bytes(earlier)
    with pytest.raises(ExportMismatchError, match="TorchScript gives frames that differ") as caught:
        export_model(make_checkpoint(), path, overwrite=True)
    assert caught.value.exit_code == 8
    assert list(tmp_path.iterdir()) == ([path] if earlier else [])
    assert earlier is None or path.read_bytes() == earlier


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def save_half(self, network, example, metadata, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(formats.TorchScriptFormat, "save", save_half)
    with pytest.raises(KeyboardInterrupt):
        export_model(make_checkpoint(), tmp_path / "model.torchscript")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".pt2", ".torchscript"])
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses what would make a file longer than this, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write the model"):
            export_model(make_checkpoint(), tmp_path / f"model{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any(tmp_path.iterdir())


def test_an_earlier_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "model.torchscript"
    path.write_bytes(b"the user's")
    with pytest.raises(OutputError, match="exists already"):
        export_model(make_checkpoint(), path)
    assert path.read_bytes() == b"the user's"
    export_model(make_checkpoint(), path, overwrite=True)
    assert torch.jit.load(path)(waves(1)).shape == (1, HORIZON, 1, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("model.tflite", {}, UsageError, r"ends in \.tflite; .*\.onnx, \.pt2, \.torchscript"),
        ("model", {}, UsageError, "ends in nothing"),
        ("nowhere/model.pt2", {}, OutputError, "there is no folder"),
        ("folder.pt2", {}, OutputError, "folder.pt2 is a folder, a model is one file"),
        ("model.pt2", {"horizon": 0}, UsageError, "horizon 0, .* must be 1 or more"),
        ("model.pt2", {"context_length": 0}, UsageError, "context length 0"),
        ("model.pt2", {"size": (9, 0)}, UsageError, "size 9x0"),
    ],
)
def test_what_cannot_work_is_refused_before_the_slow_part(
    tmp_path, monkeypatch, name, options, error, text
):
    def never(*_):
        raise AssertionError("the slow part began")

    monkeypatch.setattr(formats.ProgramFormat, "save", never)
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(error, match=text):
        export_model(make_checkpoint(), tmp_path / name, **options)


def without(*missing):
    return lambda name: None if name in missing else object()


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", without("onnxscript"))
    with pytest.raises(UsageError, match=r'needs onnxscript, .*pip install "framecast\[export\]"'):
        export_model(make_checkpoint(), tmp_path / "model.onnx")


def test_without_onnxruntime_the_report_says_that_nothing_was_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", without("onnxruntime"))
    checkpoint, path = make_checkpoint(), tmp_path / "model.onnx"
    report = export_model(checkpoint, path, horizon=2)
    assert report.difference is None
    assert report.notes[2].startswith("not checked against PyTorch: onnxruntime is not installed")
    assert 'pip install "framecast[export]"' in report.notes[2]
    expected = in_pytorch(checkpoint, waves(2))
    np.testing.assert_allclose(in_onnxruntime(path, waves(2)), expected, rtol=0, atol=1e-4)


def test_blobs_are_smooth_moving_and_different_from_each_other():
    blobs = moving_blobs(3, 4, 2, 23, 31)
    assert blobs.shape == (3, 4, 2, 23, 31)
    assert 0 <= blobs.min() <= blobs.max() <= 1
    assert blobs.diff(dim=-1).abs().max() < 0.4
    assert blobs.diff(dim=1).abs().mean() > 0.005
    assert (blobs[0] - blobs[1]).abs().mean() > 0.05
    assert (blobs[:, :, 0] - blobs[:, :, 1]).abs().mean() > 0.05


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


def test_a_run_folder_is_exported_with_its_options(tmp_path, run_folder):
    path = tmp_path / "model.torchscript"
    report = export(run_folder, path, Request(horizon=4, size="16x24"))
    assert report.path == path
    assert torch.jit.load(path)(waves(2, height=16, width=24)).shape == (2, 4, 1, 16, 24)


@pytest.mark.parametrize("target", ["out.npy", "out/"])
def test_frames_are_converted_exactly(tmp_path, clip, target):
    report = export(clip, f"{tmp_path}/{target}", Request())
    assert report.notes == ()
    frames_THWC = np.stack(list(open_source(report.path).read()))
    np.testing.assert_array_equal(frames_THWC, np.load(clip))


def test_frames_become_a_video_at_the_rate_asked_for_or_a_named_default(tmp_path, clip):
    report = export(clip, tmp_path / "out.gif", Request(fps=4))
    info = open_source(report.path).info
    assert (info.frames, info.fps) == (6, pytest.approx(4))
    assert report.notes == ()

    again = export(report.path, tmp_path / "again.mp4", Request())
    assert open_source(again.path).info.fps == pytest.approx(4)

    unknown = export(clip, tmp_path / "unknown.gif", Request())
    assert unknown.notes == (f"{clip} knows no frame rate: 10 per second, or give --fps",)
    with pytest.raises(OutputError, match="exists already"):
        export(clip, tmp_path / "out.gif", Request())


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
        export(tmp_path / source, tmp_path / target, request_)
    assert sorted(tmp_path.iterdir()) == before
