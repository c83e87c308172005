"""The model file: an exact round trip, never half written, never code, and clear refusals."""

import errno
import os
import pickle
import random
import re
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framecast.data.training_frames import TrainedClip
from framecast.errors import CheckpointError, OutputError, ResourceError
from framecast.prediction.checkpoint import load_checkpoint, save_checkpoint
from framecast.prediction.checkpoint_checks import check_clip
from tests.support.models import random_checkpoint


def progress():
    """What resuming needs: an optimizer that has stepped, counters, a random state."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "network": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "counters": {
            "step": 7,
            "minutes": 0.1,
            "best_mse": float("inf"),
            "best_mse_T": (0.5, 0.25),
        },
        "random": torch.get_rng_state(),
    }


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        same_length = len(one) == len(other)
        return same_length and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def refused(path):
    """The one line that loading ends in."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    assert "\n" not in text
    assert "; " in text, "an error names a remedy"
    return text


def rewritten(path, change):
    """The same file with its contents changed by hand."""
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)
    return path


@pytest.fixture
def model(tmp_path):
    save_checkpoint(tmp_path / "best.pt", random_checkpoint())
    return tmp_path / "best.pt"


def test_what_is_saved_is_what_is_loaded_to_the_bit(tmp_path):
    clips = (TrainedClip("rain", "5f", ((0, 8), (9, 2**40 - 1)), ("a", "b")),)
    saved = random_checkpoint(1, "train.lr=3e-4", "model.kernel_size=5", progress=progress())
    saved = replace(saved, trained_on=clips)
    save_checkpoint(tmp_path / "last.pt", saved)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert loaded.config == saved.config
    assert (loaded.clip, loaded.scores) == (saved.clip, saved.scores)
    assert loaded.trained_on == clips
    assert equal(loaded.weights, dict(saved.weights))
    assert equal(loaded.progress, saved.progress)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_the_smallest_network_is_a_model_too(tmp_path):
    smallest = ("model.name=convlstm", "model.filters=[1]", "model.patch=1")
    save_checkpoint(tmp_path / "best.pt", random_checkpoint(1, *smallest))
    weights = load_checkpoint(tmp_path / "best.pt").weights
    assert sum(tensor.numel() for tensor in weights.values()) == 88


def test_the_network_built_from_it_has_its_weights_and_is_ready_to_forecast(model):
    saved, network = random_checkpoint(), load_checkpoint(model).forecaster()
    assert equal(dict(network.state_dict()), dict(saved.weights))
    assert not network.training
    context = torch.rand(2, 5, 3, 9, 10)
    with torch.no_grad():
        torch.testing.assert_close(network(context, 3), saved.forecaster()(context, 3))


def test_a_run_folder_stands_for_its_best_model(model):
    assert load_checkpoint(model.parent).scores == load_checkpoint(model).scores


def test_a_model_without_progress_loads_with_none(model):
    assert load_checkpoint(model).progress is None


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        save_checkpoint(tmp_path / "best.pt", random_checkpoint())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "best.pt").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.EIO, "Input/output error"), OutputError),
        (RuntimeError("PytorchStreamWriter failed writing file"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("stage", ["write", "sync", "replace"])
def test_a_save_that_fails_keeps_the_old_file_and_leaves_no_part(
    model, monkeypatch, error, raised, stage
):
    def fail(*arguments, **named):
        if stage == "write":
            arguments[1].write(b"PK half a file")
        raise error

    owner, name = {
        "write": (torch, "save"),
        "sync": (os, "fsync"),
        "replace": (Path, "replace"),
    }[stage]
    before = model.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(raised) as caught:
            save_checkpoint(model, random_checkpoint(1))
    assert model.read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == ["best.pt"]
    if raised is OutputError:
        assert str(caught.value).startswith(f"{model}: cannot write the checkpoint (")
        assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota is used up")],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "by PyTorch's writer"])
def test_a_full_disk_is_said_and_keeps_the_old_file(model, monkeypatch, wrapped, number, said):
    before = model.read_bytes()

    def refuse(contents, file):
        file.write(b"half")
        try:
            raise OSError(number, "full")
        except OSError:
            if wrapped:
                raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904  (as PyTorch does)
            raise

    checkpoint = load_checkpoint(model)
    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(ResourceError, match=f"{said}; free some space"):
        save_checkpoint(model, checkpoint)
    assert model.read_bytes() == before
    assert [*model.parent.iterdir()] == [model]


def test_another_save_replaces_the_file(model):
    save_checkpoint(model, replace(random_checkpoint(1), scores={"validation_mse": 0.25}))
    assert load_checkpoint(model).scores == {"validation_mse": 0.25}


@pytest.mark.parametrize("place", ["gone/best.pt", "file/best.pt"])
def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=rf"{place}: cannot write the checkpoint \(No"):
        save_checkpoint(tmp_path / place, random_checkpoint())


def test_a_missing_file_and_a_folder_without_a_model_are_told_apart(tmp_path):
    assert "gone.pt: no such file" in refused(tmp_path / "gone.pt")
    assert refused(tmp_path).startswith(f"{tmp_path}: no model here")


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"PK\x03\x04" + bytes(60), b"\x80\x02K", bytes(4000)]
)
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "best.pt").write_bytes(data)
    assert "best.pt: damaged, or not a model" in refused(tmp_path / "best.pt")


@pytest.mark.parametrize("contents", [{"state_dict": {}}, [1, 2], torch.ones(3), {"format": "pt"}])
def test_other_pytorch_files_are_refused(tmp_path, contents):
    torch.save(contents, tmp_path / "best.pt")
    assert "a PyTorch file, but not a framecast model" in refused(tmp_path / "best.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path, recwarn):
    module = torch.jit.trace(torch.nn.Linear(2, 3), torch.ones(1, 2))
    module.save(str(tmp_path / "best.pt"))
    assert "damaged, or not a model" in refused(tmp_path / "best.pt")
    assert not [warning for warning in recwarn if "TorchScript" in str(warning.message)]


def test_what_pytorch_warns_of_while_reading_is_not_shown(model, recwarn):
    # Protocol 3: not the one that PyTorch writes, though it reads it, with a warning.
    torch.save(torch.load(model, weights_only=True), model, pickle_protocol=3)
    assert load_checkpoint(model).scores == random_checkpoint().scores
    assert not recwarn.list


def test_a_newer_format_asks_for_an_upgrade(model):
    rewritten(model, lambda contents: contents.update(version=2))
    assert "format version 2, this framecast reads 1; upgrade framecast" in refused(model)
    rewritten(model, lambda contents: contents.pop("version"))
    assert "format version None" in refused(model)
    # On one line, which the text of a tensor is not.
    rewritten(model, lambda contents: contents.update(version=torch.ones(2, 3)))
    assert "format version tensor([[1., 1., 1.], [1., 1., 1" in refused(model)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(model, share):
    data = model.read_bytes()
    model.write_bytes(data[: int(share * len(data))])
    assert "damaged, or not a model" in refused(model)


def test_flipped_bits_never_end_in_anything_but_a_model_or_a_refusal(model):
    data, draw = model.read_bytes(), random.Random(0)
    refusals = 0
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(draw.choice([1, 20])):
            broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        model.write_bytes(broken)
        try:
            load_checkpoint(model)
        except CheckpointError:
            refusals += 1
    assert refusals > 0


class Malicious:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle", "inside"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, model, kind):
    trap = Malicious(tmp_path / "trapped")
    pickle.loads(pickle.dumps(trap))
    (tmp_path / "trapped").rmdir()  # the trap works
    if kind == "pickle":
        model.write_bytes(pickle.dumps({"format": "framecast", "version": 1, "config": trap}))
    elif kind == "inside":
        contents = torch.load(model, weights_only=True)
        torch.save(contents | {"scores": trap}, model)
    else:
        torch.save(trap, model, _use_new_zipfile_serialization=kind == "torch")
    assert "damaged, or not a model" in refused(model)
    assert not (tmp_path / "trapped").exists()


def unknown_setting(contents):
    contents["config"]["model"]["depth"] = 3


def nan_weight(contents):
    next(iter(contents["weights"].values())).view(-1)[1] = torch.nan


def seen(**changes):
    """A training clip as a model file lists it."""
    return {"name": "rain", "content": "5f", "frames": [[0, 8], [9, 20]], "files": []} | changes


def replace_weight(contents, value):
    contents["weights"][next(iter(contents["weights"]))] = value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda contents: contents.pop("weights"), "weights"),
        (lambda contents: contents.pop("config"), "config"),
        (lambda contents: contents.update(weights=[1]), "incomplete or inconsistent"),
        (lambda contents: contents.update(clip=None), "incomplete or inconsistent"),
        (lambda contents: contents["clip"].pop("channels"), "channels"),
        (lambda contents: contents["clip"].update(channels=2), "incomplete or inconsistent"),
        (lambda contents: contents["clip"].pop("height"), "height"),
        (lambda contents: contents["clip"].update(width="8"), "width"),
        (lambda contents: contents["config"]["data"].update(horizon="auto"), "horizon is auto"),
        (
            lambda contents: contents["config"]["model"].update(filters=[10**9]),
            "far larger network",
        ),
        (
            lambda contents: contents["config"]["model"].update(filters=[1] * 10**4),
            "larger network",
        ),
        (lambda contents: contents["clip"].update(height=10**9), "height is 1000000000"),
        (lambda contents: contents.update(scores={"validation_mse": torch.ones(2)}), "scores"),
        (lambda contents: contents.update(scores=[0.5]), "scores: expected numbers by name"),
        (lambda contents: contents.update(progress=[]), "progress"),
        (lambda contents: contents.update(trained_on={"name": 1}), "trained_on: expected a list"),
        (lambda contents: contents.update(trained_on=[seen(frames=[[5, 2]])]), "out of order"),
        (lambda contents: contents.update(trained_on=[seen(frames=[[0, 2**40]])]), "out of order"),
        (lambda contents: contents.update(trained_on=[seen(name=3)]), "expected names"),
        (lambda contents: contents.update(trained_on=[seen(frames=[[1, 2, 3, 4]])]), "trained_on"),
        (lambda contents: replace_weight(contents, torch.ones(1).expand(10**6, 10**6)), "stored"),
        (lambda contents: replace_weight(contents, torch.ones(2, 3).to_sparse()), "plain tensor"),
        (lambda contents: replace_weight(contents, torch.empty(2, device="meta")), "plain tensor"),
        (lambda contents: replace_weight(contents, torch.ones(2, dtype=torch.complex64)), "type"),
        (lambda contents: replace_weight(contents, torch.ones(2).to(torch.float8_e5m2)), "type"),
        (lambda contents: replace_weight(contents, [0.5]), "weights: expected tensors by name"),
        (unknown_setting, "depth"),
        (nan_weight, "NaN"),
    ],
)
def test_contents_that_cannot_be_are_refused(model, change, words):
    text = refused(rewritten(model, change))
    assert text.startswith(f"{model}: incomplete or inconsistent (")
    assert words in text


HOSTILE = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    st.sampled_from([10**12, 2**31, 2**63 - 1, -1, 0, 1e308, "auto", "a" * 10**5, [10**9] * 50]),
    st.lists(st.integers() | st.none(), max_size=3) | st.dictionaries(st.text(), st.integers()),
    st.sampled_from(
        [
            torch.ones(2, 3).to_sparse(),
            torch.ones(1).expand(10**6, 10**6),
            torch.ones(2).to(torch.float8_e4m3fn),
            torch.empty(3, 4, device="meta"),
            torch.zeros(0),
            torch.ones(2, 3, dtype=torch.float64),
        ]
    ),
)
"""Values that a field of a model file does not expect."""


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_value_in_any_field_is_a_model_or_one_refusal(tmp_path, data):
    path = tmp_path / "model.pt"
    save_checkpoint(path, replace(random_checkpoint(), progress={"step": 1}))
    contents = torch.load(path, weights_only=True)
    place, key = contents, data.draw(st.sampled_from(sorted(contents)))
    while isinstance(place[key], dict) and place[key] and data.draw(st.integers(0, 9)):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(HOSTILE)
    torch.save(contents, path)
    try:
        load_checkpoint(path).forecaster()
    except (CheckpointError, ResourceError) as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 700


def test_weights_of_another_network_are_refused():
    other = random_checkpoint(1, "model.filters=[4, 5]").weights
    with pytest.raises(CheckpointError, match=r"do not fit model\.name flow-convlstm") as caught:
        replace(random_checkpoint(3), weights=other).forecaster()
    assert not re.search("[\n\t]", str(caught.value))
    assert len(str(caught.value)) < 400


def test_weights_that_do_not_fit_are_named_with_their_shapes():
    model = random_checkpoint(3)
    del model.weights["lift.bias"], model.weights["blend"]
    model.weights["embed.weight"] = torch.zeros(5, 7)
    expected = r"blend is missing, embed\.weight is \(5, 7\), not \(64, 48, 3, 3\) and 1 more"
    with pytest.raises(CheckpointError, match=rf"model\.name flow-convlstm: {expected};"):
        model.forecaster()
    model.weights["own\n" + 500 * "long"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"flow-convlstm: own \.\.\.;"):
        model.forecaster()


def test_the_default_network_of_an_earlier_framecast_says_what_to_do():
    weights = {"mix": torch.zeros(24, 18), "lean": torch.zeros(24, 7, 18)}
    with pytest.raises(CheckpointError, match=r"train it again, or leave the model out"):
        replace(random_checkpoint(3), weights=weights).forecaster()


def test_a_file_without_permission_says_so(model, monkeypatch):
    def denied(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", denied)
    assert f"{model}: permission to read it is denied; run chmod" in refused(model)


def test_an_archive_that_holds_more_than_its_size_is_refused_unread(model, monkeypatch):
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("best/data/99", bytes(10**6))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was read"))
    assert "damaged, or not a model" in refused(model)


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_is_not_called_damage(model, monkeypatch, failure):
    def load(*_, **__):
        raise failure

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(ResourceError, match="out of memory; use a machine with more memory"):
        load_checkpoint(model)


def test_a_file_larger_than_memory_is_refused_unread(model, monkeypatch):
    size = model.stat().st_size
    monkeypatch.setattr("framecast.prediction.model_header.machine_memory", lambda: size)
    load_checkpoint(model)
    monkeypatch.setattr("framecast.prediction.model_header.machine_memory", lambda: size - 1)
    with pytest.raises(ResourceError, match="use a machine with more memory"):
        load_checkpoint(model)


def test_frames_have_at_most_65536_pixels_a_side():
    check_clip({"channels": 3, "height": 65_536, "width": 1})
    for size in ({"height": 65_537, "width": 1}, {"height": 8, "width": 0}):
        with pytest.raises(ValueError, match="clip: "):
            check_clip({"channels": 3} | size)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.pt")
    assert "not a regular file" in refused(tmp_path / "model.pt")


def test_a_name_that_is_too_long_is_one_sentence(tmp_path):
    assert "cannot be read (File name too long)" in refused(tmp_path / ("a" * 300))
