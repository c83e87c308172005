"""An exported model predicts what the run folder predicts, without torch."""

import subprocess
import sys

import numpy as np
import pytest

import framecast
from framecast.errors import UsageError
from framecast.export.model import export_model
from framecast.export.request import ExportRequest
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.onnx_forecaster import OnnxForecaster, open_forecaster
from framecast.video.readers.open import open_source
from tests.support.media import smooth_clip
from tests.support.models import random_checkpoint

SETTINGS = ("model.name=convlstm", "data.resize=none")


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint(1, *SETTINGS)


@pytest.fixture(scope="module", params=[False, True], ids=["rollout", "step"])
def exported(request, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_model(checkpoint, path, ExportRequest(step=request.param))
    return path


def test_it_gives_pytorchs_frames_at_sizes_it_was_not_made_at(checkpoint, exported):
    clip_THWC = smooth_clip(9, 21, 34)[..., 1:2]
    for kind in (np.uint8, np.uint16):
        given = clip_THWC[-5:].astype(kind) * (257 if kind == np.uint16 else 1)
        found = OnnxForecaster(exported).predict(given, 3)
        expected = LoadedForecaster(checkpoint, "cpu").predict(given, 3)
        assert found.dtype == expected.dtype == kind
        assert found.shape == expected.shape == (3, 21, 34, 1)
        assert np.abs(found.astype(int) - expected).max() <= (1 if kind == np.uint8 else 8)
        assert np.abs(found.astype(int) - given[-1]).mean() > 2


def test_the_command_predicts_and_streams_without_torch(exported, tmp_path):
    np.save(tmp_path / "clip.npy", smooth_clip(8, 20, 26)[..., 1])
    script = (
        "import sys\nfrom framecast.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules\nraise SystemExit(code)"
    )
    for name, flags, frames in (("p.npy", ("--horizon", "6"), 6), ("s.npy", ("--stream",), 7)):
        command = ["predict", str(exported), "clip.npy", "-o", name, *flags]
        done = subprocess.run(
            [sys.executable, "-c", script, *command],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
        assert open_source(tmp_path / name).info.frames == frames


def test_a_clip_is_predicted_with_the_context_and_horizon_of_the_export(checkpoint, tmp_path):
    path, noise = tmp_path / "model.onnx", np.random.default_rng(2)
    clip_THWC = noise.integers(0, 65536, (9, 20, 26, 1), dtype=np.uint16)
    export_model(checkpoint, path, ExportRequest(context_length=7, horizon=3))
    np.save(tmp_path / "clip.npy", clip_THWC)
    found_THWC = framecast.predict(tmp_path / "clip.npy", path).frames
    forecaster = OnnxForecaster(path)
    np.testing.assert_array_equal(found_THWC, forecaster.predict(clip_THWC[-7:], 3))
    assert not np.array_equal(found_THWC, forecaster.predict(clip_THWC[-5:], 3))


@pytest.mark.parametrize("horizon", [3, 8])
def test_a_note_names_the_horizon_of_the_training_not_of_the_export(horizon, tmp_path):
    path = tmp_path / "model.onnx"
    trained_with_4 = random_checkpoint(1, *SETTINGS, "data.horizon=4")
    export_model(trained_with_4, path, ExportRequest(horizon=horizon))
    np.save(tmp_path / "clip.npy", smooth_clip(9, 20, 26)[..., 1:2])
    told = "horizon {} goes beyond the 4 frames the model was trained on"
    for asked in (4, 5, 9):
        notes = framecast.predict(tmp_path / "clip.npy", path, horizon=asked).notes
        beyond = [note for note in notes if note.startswith("horizon")]
        assert beyond == [told.format(asked)] * (asked > 4)


def test_a_short_context_is_filled_with_its_oldest_frame(exported):
    clip_THWC = smooth_clip(3, 20, 26)[..., 1:2]
    filled = np.concatenate((clip_THWC[[0, 0]], clip_THWC))
    forecaster = OnnxForecaster(exported)
    np.testing.assert_array_equal(forecaster.predict(clip_THWC, 2), forecaster.predict(filled, 2))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": "cuda"}, "--device is not for exported models"),
        ({"tile": 64}, "--tile is not for exported models"),
        ({"match": 0.5}, "--match is not for exported models"),
    ],
)
def test_what_an_exported_model_cannot_do_is_refused(exported, options, text):
    with pytest.raises(UsageError, match=text):
        open_forecaster(exported, **options)


def test_a_file_that_is_no_exported_model_is_refused(run, clips, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    code, _, err = run(
        "predict", tmp_path / "text.onnx", clips / "grey.npy", "-o", tmp_path / "o.gif"
    )
    assert (code, err) == (
        4,
        f"error: {tmp_path / 'text.onnx'}: damaged, or not an ONNX model; give a file that "
        "`framecast export` wrote\n",
    )
    code, _, err = run(
        "predict", tmp_path / "none.onnx", clips / "grey.npy", "-o", tmp_path / "o.gif"
    )
    assert (code, "none.encode.onnx: no such file" in err) == (4, True)
