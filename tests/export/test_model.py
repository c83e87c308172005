"""Exported models, run as others would run them, give PyTorch's frames or are not there."""

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
from framecast.export import formats, onnx_graphs, request
from framecast.export.export import export
from framecast.export.model import (
    CHECKED_BATCHES,
    _contexts,
    _sides,
    export_model,
    moving_blobs,
)
from framecast.export.request import ExportRequest
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.onnx_network import OnnxNetwork
from framecast.runtime import extras

HEIGHT, WIDTH, CONTEXT, HORIZON = 22, 30, 3, 2
PACKAGE = str(Path(framecast.__file__).parent).encode()
NETWORKS = [
    ("flow-convlstm", 4, 3),
    ("convlstm", 4, 1),
    ("frame-convlstm", 2, 3),
    ("shi2015", 4, 1),
]
TIED = [("cnn-lstm", 4, 1), ("fc-lstm", 4, 1)]
SIZES = [(1, HEIGHT, WIDTH), (3, HEIGHT - 5, WIDTH + 9)]
"""Batch size, height and width: those of the export and others."""


def make_checkpoint(name="convlstm", patch=4, channels=1, filters="[3]"):
    """A model in which no weights are zero, as the head's are, so that all reach the frames."""
    settings = [
        f"model.name={name}",
        f"model.patch={patch}",
        f"model.filters={filters}",
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
            if name == "frame-convlstm":  # its frames hang on the state alone, which must move
                weight.mul_(2)
    clip = {"channels": channels, "height": HEIGHT, "width": WIDTH}
    return Checkpoint(config, clip, network.state_dict(), {})


def export_saved(folder, name, **options):
    """Export a model file, as the command does."""
    save_checkpoint(folder / "source.pt", make_checkpoint())
    return export(folder / "source.pt", [folder / name], ExportRequest(**options))


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
    assert (frames_BTCHW[:, 1:] - frames_BTCHW[:, :-1]).abs().mean() > 0.001
    return frames_BTCHW.numpy()


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


@pytest.fixture(scope="module")
def traced():
    """The graphs of networks that were traced so far."""
    return {}


@pytest.fixture
def trace_once(monkeypatch, traced, name):
    """Trace a network for one kind of file only, since that takes longer than all else."""
    trace = onnx_graphs.step_models

    def step_models(graphs, free_size):
        if name not in traced:
            traced[name] = trace(graphs, free_size)
        return deepcopy(traced[name])  # what is written is made of them in place

    monkeypatch.setattr(onnx_graphs, "step_models", step_models)


def in_onnxruntime(path):
    """A session, of which the making takes longer than what is run in it here."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run_onnx(session, context_BTCHW, horizon=HORIZON):
    given = {"context": context_BTCHW.numpy(), "horizon": np.array(horizon)}
    return session.run(["frames"], given)[0]


def assert_other_sizes_are_refused(session, channels, **horizon):
    """By ONNX Runtime alone, where the graph does not hold for them; the smallest is computed."""
    least, most = json.loads(session.get_modelmeta().custom_metadata_map["sides"])
    assert (least, most[0]) == ([9, 9], 24)

    def run(height, width):
        context_BTCHW = waves(1, channels=channels, height=height, width=width)
        return session.run(None, {"context": context_BTCHW.numpy(), **horizon})[0]

    assert np.isfinite(run(9, 9)).all()
    for size in ((25, 30), (22, 8), (8, 30)):
        with pytest.raises(Exception, match="must be 9x9 to 24x4096"):
            run(*size)


@pytest.mark.usefixtures("trace_once")
@pytest.mark.parametrize(("name", "patch", "channels"), NETWORKS)
def test_onnx_gives_pytorchs_frames_at_any_size_and_horizon(tmp_path, capfd, name, patch, channels):
    checkpoint, path = make_checkpoint(name, patch, channels), tmp_path / "model.onnx"
    report = export_model(checkpoint, path)
    assert capfd.readouterr() == ("", "")
    assert report.paths == (path,)
    assert report.difference < 1e-4
    sizes, session = SIZES, in_onnxruntime(path)
    if name == "flow-convlstm":
        assert_other_sizes_are_refused(session, channels, horizon=np.array(HORIZON))
        sizes = [*SIZES, (1, 24, 11)]  # as many rows as the graph holds for
    assert list(tmp_path.iterdir()) == [path]
    for batch, height, width in sizes:
        for horizon in (HORIZON, HORIZON + 3):
            context_BTCHW = waves(batch, channels=channels, height=height, width=width)
            expected = in_pytorch(checkpoint, context_BTCHW, horizon)
            found = run_onnx(session, context_BTCHW, horizon)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert_metadata(((p.key, p.value) for p in model.metadata_props), name, patch, channels)
    assert [value.name for value in model.graph.input] == ["context", "horizon"]
    axes = [
        axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert axes == ["batch", CONTEXT, channels, "height", "width"]
    assert PACKAGE not in path.read_bytes(), "carries paths of the machine it was made on"


@pytest.mark.usefixtures("trace_once")
@pytest.mark.parametrize(("name", "patch", "channels"), [*NETWORKS, *TIED])
def test_a_stepped_network_gives_its_states_back(tmp_path, name, patch, channels):
    checkpoint = make_checkpoint(name, patch, channels)
    report = export_model(checkpoint, tmp_path / "m.onnx", ExportRequest(step=True))
    assert report.paths == (tmp_path / "m.encode.onnx", tmp_path / "m.step.onnx")
    assert sorted(tmp_path.iterdir()) == sorted(report.paths)
    encode, step = map(in_onnxruntime, report.paths)
    names = [value.name for value in step.get_inputs()]
    assert [value.name for value in encode.get_outputs()] == names
    assert [value.name for value in step.get_outputs()] == [
        "frame",
        *(f"next_{name}" for name in names),
    ]
    if name == "flow-convlstm":
        assert_other_sizes_are_refused(encode, channels)
    for batch, height, width in SIZES[: 1 if (name, patch, channels) in TIED else 2]:
        context_BTCHW = waves(batch, channels=channels, height=height, width=width)
        states = encode.run(None, {"context": context_BTCHW.numpy()})
        for frame in in_pytorch(checkpoint, context_BTCHW, 4).swapaxes(0, 1):
            found, *states = step.run(None, dict(zip(names, states, strict=True)))
            np.testing.assert_allclose(found, frame, rtol=0, atol=1e-4)


def test_all_names_of_a_stepped_network_lead_to_its_two_files(tmp_path):
    checkpoint, path = make_checkpoint(), tmp_path / "m.onnx"
    report = export_model(checkpoint, path, ExportRequest(step=True))
    context_BTCHW = waves(1)
    expected = in_pytorch(checkpoint, context_BTCHW)
    for name in (path, *report.paths):
        frames = OnnxNetwork(name).rollout(context_BTCHW.numpy(), HORIZON)
        np.testing.assert_allclose(np.stack([*frames], 1), expected, rtol=0, atol=1e-5)
    report.paths[0].unlink()
    with pytest.raises(CheckpointError, match=r"m\.encode\.onnx: no such file"):
        OnnxNetwork(path)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_half_precision_halves_the_file_and_its_error_is_told(tmp_path, suffix):
    checkpoint = make_checkpoint("convlstm", 4, 1, filters="[40, 36]")
    whole = export_model(checkpoint, tmp_path / f"whole{suffix}")
    half = export_model(checkpoint, tmp_path / f"half{suffix}", ExportRequest(half=True))
    assert half.paths[0].stat().st_size < 0.6 * whole.paths[0].stat().st_size
    assert whole.difference < 1e-5 < half.difference < 5e-3
    told = [note for note in half.notes if note.endswith("weights in half precision")]
    assert told == [
        f"differs from PyTorch by at most {half.difference:.1e} at batch sizes 1 and 3, "
        "weights in half precision"
    ]


def test_a_network_that_does_not_make_the_forecasts_is_exported_with_a_note(tmp_path):
    lost = {"validation_mse": 0.2, "persistence_mse": 0.3, "flow_mse": 0.1}
    checkpoint = replace(make_checkpoint("flow-convlstm", 8, 1), scores=lost)
    note = "the file holds the network all the same, where `predict` with the run uses the optical"
    assert note in export_model(checkpoint, tmp_path / "a.torchscript").notes[-1]
    # This one is read with its scores.
    assert "did not beat" not in str(export_model(checkpoint, tmp_path / "a.safetensors").notes)


def test_safetensors_are_a_model_again(tmp_path):
    checkpoint, path = make_checkpoint("shi2015", 4, 1), tmp_path / "model.safetensors"
    report = export_model(checkpoint, path)
    assert report.difference == 0
    again = load_checkpoint(path)
    assert (again.config, again.clip, again.scores) == (
        *(checkpoint.config, checkpoint.clip, checkpoint.scores),
    )
    for name, weight in checkpoint.weights.items():
        assert torch.equal(again.weights[name], weight)
    assert report.notes[0] == (
        "holds weights and settings, which framecast reads, for frames of any size"
    )
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="damaged, or not a model"):
        load_checkpoint(path)


def exported_alone(path, capfd, name, patch, channels):
    """Export a network as the only file of its folder, without a word; returns its checkpoint."""
    checkpoint = make_checkpoint(name, patch, channels)
    assert export_model(checkpoint, path).difference < 1e-5
    assert capfd.readouterr() == ("", "")
    assert list(path.parent.iterdir()) == [path]
    return checkpoint


def assert_equal_frames(module, checkpoint, context_BTCHW, *horizon):
    with torch.no_grad():
        found = module(context_BTCHW, *horizon).numpy()
    expected = in_pytorch(checkpoint, context_BTCHW, *horizon)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def replace_format(monkeypatch, suffix, **functions):
    changed = formats.MODEL_FORMATS[suffix]._replace(**functions)
    monkeypatch.setitem(formats.MODEL_FORMATS, suffix, changed)


@pytest.mark.parametrize(("name", "patch", "channels"), NETWORKS[:2])
def test_torch_export_gives_pytorchs_frames_at_any_batch_size(
    tmp_path, capfd, monkeypatch, name, patch, channels
):
    path, extra, modules = tmp_path / "model.pt2", {"framecast.json": ""}, []
    if name == "flow-convlstm":  # takes long to load: once for the check and for this test

        def load(path):
            modules.append(torch.export.load(path, extra_files=extra).module())
            return lambda context_BTCHW, horizon: modules[0](context_BTCHW)

        replace_format(monkeypatch, ".pt2", load=load)
    checkpoint = exported_alone(path, capfd, name, patch, channels)
    module = modules[0] if modules else torch.export.load(path, extra_files=extra).module()
    assert_metadata(json.loads(extra["framecast.json"]), name, patch, channels)
    for batch in (1, 3):
        assert_equal_frames(module, checkpoint, waves(batch, channels=channels))
    assert PACKAGE not in path.read_bytes(), "carries paths of the machine it was made on"


@pytest.mark.parametrize(("name", "patch", "channels"), [*NETWORKS, TIED[0]])
def test_torchscript_gives_pytorchs_frames_and_refuses_other_sizes(
    tmp_path, capfd, name, patch, channels
):
    path, extra = tmp_path / "model.torchscript", {"framecast.json": ""}
    checkpoint = exported_alone(path, capfd, name, patch, channels)
    module = torch.jit.load(path, _extra_files=extra)
    assert_metadata(json.loads(extra["framecast.json"]), name, patch, channels)
    for batch, height, width in SIZES[: 1 if (name, patch, channels) in TIED else 2]:
        context_BTCHW = waves(batch, channels=channels, height=height, width=width)
        assert_equal_frames(module, checkpoint, context_BTCHW, 3)
    with pytest.raises(torch.jit.Error, match=r"context must be .*\[3, \d\]"):
        module(waves(1, length=4, channels=channels))
    if name == "cnn-lstm":
        with pytest.raises(torch.jit.Error, match=r"H, W from \[22, 30\] to \[22, 30\]"):
            module(waves(1, height=26))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(("m.onnx", False), ('12" {\\d}.onnx', True), ('12" {\\d}.torchscript', False)),
        pytest.param("m.pt2", False, marks=pytest.mark.slow),
    ],
)
def test_the_printed_script_runs_and_gives_the_frames_of_predict(tmp_path, name, step):
    checkpoint = make_checkpoint("convlstm", 4, 1)
    report = export_model(checkpoint, tmp_path / name, ExportRequest(step=step))
    lines = [line for line in report.snippet.splitlines() if line.strip()]
    assert len(lines) <= 12
    assert max(map(len, lines)) < 80
    frames_THWC = (waves(1, length=7)[0].numpy().transpose(0, 2, 3, 1) * 255).round()
    np.save(tmp_path / "clip.npy", frames_THWC.astype(np.uint8))
    script = report.snippet
    if name.endswith(".onnx"):
        script += "import sys; assert 'torch' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    context_THWC = frames_THWC[-CONTEXT:].astype(np.uint8)
    expected = LoadedForecaster(checkpoint, "cpu").predict(context_THWC, HORIZON)
    found = np.load(tmp_path / "future.npy")
    assert found.shape == expected.shape == (HORIZON, HEIGHT, WIDTH, 1)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_horizon_context_and_size_can_be_chosen(tmp_path):
    checkpoint, path = make_checkpoint("convlstm", 4, 1), tmp_path / "long.torchscript"
    report = export_model(checkpoint, path, ExportRequest(5, 4, "19x45"))
    context_BTCHW = waves(2, length=4, height=19, width=45)
    with torch.no_grad():
        found = torch.jit.load(path)(context_BTCHW).numpy()
    assert found.shape == (2, 5, 1, 19, 45)
    expected = in_pytorch(checkpoint, context_BTCHW, horizon=5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert report.notes[0] == (
        "takes context (B, 4, 1, H, W), float32 in [0, 1], any B, H and W from 1 to 4096"
    )
    assert report.notes[1].startswith("differs from PyTorch by at most")
    tied = export_model(make_checkpoint("fc-lstm", 4, 1), tmp_path / "tied.onnx")
    assert tied.notes[0] == "takes context (B, 3, 1, 22, 30), float32 in [0, 1], any B"


def test_a_network_that_repeats_the_last_frame_is_called_untested(tmp_path):
    checkpoint = make_checkpoint()
    weights = {
        name: torch.zeros_like(weight) if name.startswith("paint") else weight
        for name, weight in checkpoint.weights.items()
    }
    still = Checkpoint(checkpoint.config, checkpoint.clip, weights, {})
    notes = export_model(still, tmp_path / "still.torchscript").notes
    assert notes[-1].startswith("this network repeats the last frame")
    assert len(export_model(checkpoint, tmp_path / "moving.torchscript").notes) == 2


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
    load = formats.MODEL_FORMATS[".torchscript"].load

    def load_damaged(path):
        run = load(path)
        return lambda context_BTCHW, horizon: defect(run(context_BTCHW, horizon))

    replace_format(monkeypatch, ".torchscript", load=load_damaged)
    path = tmp_path / "model.torchscript"
    if earlier:
        path.write_bytes(earlier)
    with pytest.raises(ExportMismatchError, match="TorchScript gives frames that differ") as caught:
        export_model(make_checkpoint(), path, overwrite=True)
    assert caught.value.exit_code == 8
    assert list(tmp_path.iterdir()) == ([path] if earlier else [])
    assert earlier is None or path.read_bytes() == earlier


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def save_half(export, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    replace_format(monkeypatch, ".torchscript", save=save_half)
    with pytest.raises(KeyboardInterrupt):
        export_model(make_checkpoint(), tmp_path / "model.torchscript")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".safetensors", ".torchscript"])
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
        ("model.tflite", {}, UsageError, r"cannot become .* \.onnx, \.pt2, \.torchscript"),
        ("model", {}, UsageError, "model: a model cannot become"),
        ("nowhere/model.pt2", {}, OutputError, "there is no folder"),
        ("folder.pt2", {}, OutputError, "folder.pt2 is a folder, a model is one file"),
        ("model.pt2", {"horizon": 0}, UsageError, "--horizon 0: nothing to predict"),
        ("model.pt2", {"context_length": 0}, UsageError, "--context-length 0: no context"),
        ("model.pt2", {"size": "9x0"}, ConfigError, "--size: expected HEIGHTxWIDTH, got '9x0'"),
        ("model.pt2", {"step": True}, UsageError, r"--step is not for torch.export; .* \.onnx"),
        ("m.safetensors", {"horizon": 3}, UsageError, "--horizon is not for safetensors; end"),
        ("m.safetensors", {"context_length": 3}, UsageError, "--context-length is not for"),
        ("m.torchscript", {"half": True}, UsageError, r"--half .*\.onnx or \.safetensors"),
    ],
)
def test_what_cannot_work_is_refused_before_the_slow_part(
    tmp_path, monkeypatch, name, options, error, text
):
    def never(*_):
        raise AssertionError("the slow part began")

    replace_format(monkeypatch, ".pt2", save=never)
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(error, match=text):
        export_saved(tmp_path, name, **options)


def without(*missing):
    return lambda name: None if name in missing else object()


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", without("onnx"))
    with pytest.raises(UsageError, match=r'needs onnx, .*pip install "framecast\[export\]"'):
        export_saved(tmp_path, "model.onnx")


def test_torch_2_6_which_cannot_load_loops_is_refused_for_torch_export_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(request, "version", lambda package: {"torch": "2.6.0+cpu"}[package])
    with pytest.raises(UsageError, match=r"model\.pt2: PyTorch 2\.6\.0\+cpu cannot load .* 2\.7"):
        export_saved(tmp_path, "model.pt2")
    assert export_saved(tmp_path, "model.torchscript").paths == (tmp_path / "model.torchscript",)


def test_without_onnxruntime_the_report_says_that_nothing_was_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", without("onnxruntime"))
    checkpoint, path = make_checkpoint(), tmp_path / "model.onnx"
    report = export_model(checkpoint, path)
    assert report.difference is None
    assert report.notes[1].startswith("not checked against PyTorch: onnxruntime is not installed")
    assert 'pip install "framecast[export]"' in report.notes[1]
    expected = in_pytorch(checkpoint, waves(2))
    np.testing.assert_allclose(
        run_onnx(in_onnxruntime(path), waves(2)), expected, rtol=0, atol=1e-4
    )


def test_blobs_are_smooth_moving_and_different_from_each_other():
    blobs = moving_blobs(3, 4, 2, 23, 31)
    assert blobs.shape == (3, 4, 2, 23, 31)
    assert 0 <= blobs.min() <= blobs.max() <= 1
    assert blobs.diff(dim=-1).abs().max() < 0.4
    assert blobs.diff(dim=1).abs().mean() > 0.005
    assert (blobs[0] - blobs[1]).abs().mean() > 0.05
    assert (blobs[:, :, 0] - blobs[:, :, 1]).abs().mean() > 0.05


class Specialised:
    """Stands for a network whose graph depends on the shorter side and on the area of a frame."""

    def graph_of(self, height, width):
        return min(height, width) // 100, height * width // 90_000


def test_sizes_are_a_rectangle_in_which_the_graph_is_the_same():
    (low, left), (high, right) = _sides(Specialised(), (120, 250))
    assert (low, left) == (100, 100)
    assert (high, right) == (199, 452)  # 200 rows are another graph, and so are 199 x 453 pixels
    network, traced = Specialised(), Specialised().graph_of(120, 250)
    for height in range(low, high + 1, 3):
        for width in range(left, right + 1, 7):
            assert network.graph_of(height, width) == traced, (height, width)
    assert network.graph_of(low - 1, left) != traced
    assert network.graph_of(high, right + 1) != traced


@pytest.mark.parametrize(
    ("sides", "other"),
    [
        (((10, 10), (40, 60)), (25, 33)),
        (((10, 10), (24, 60)), (15, 33)),
        (((18, 29), (20, 31)), (18, 29)),
        (((20, 30), (20, 30)), None),
    ],
)
def test_a_second_size_is_checked_larger_or_smaller_where_the_file_holds_for_one(sides, other):
    export = SimpleNamespace(context_BTCHW=torch.zeros(2, 3, 1, 20, 30), sides=sides)
    sizes = [tuple(context_BTCHW.shape[-2:]) for context_BTCHW in _contexts(export)]
    assert sizes == [*[(20, 30)] * len(CHECKED_BATCHES), *([other] if other else [])]
