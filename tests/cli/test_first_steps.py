"""The commands for the first minutes: demo, models, doctor, config."""

import re

import yaml

from framecast.cli import doctor
from framecast.config.loading import example_yaml, load_config
from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.registry import build_forecaster
from framecast.video.readers.open import open_source


def test_models_lists_every_network_with_the_parameters_it_really_has(run):
    code, out, err = run("models")
    assert (code, err) == (0, "")
    rows = dict(re.findall(r"^([\w-]+) +│ +([\d,]+) ", out, re.MULTILINE))
    assert list(rows) == list(NETWORKS)
    for name, count in rows.items():
        network = build_forecaster(ModelConfig(name=name), 1, (64, 64))
        assert int(count.replace(",", "")) == sum(w.numel() for w in network.parameters()), name


def test_doctor_tells_versions_codecs_and_devices_and_tests_them(run):
    code, out, _ = run("doctor")
    assert code == 0
    topics = dict(re.findall(r"^(\S[\w, ]*?)  +(\S.*?) *$", out, re.MULTILINE))
    assert "torch 2." in topics["packages"]
    assert topics["video out"] == "MP4, WebM, GIF"
    assert {"h264", "vp9"} <= set(topics["video in"].split(", "))
    assert topics["used by default"] in ("cpu, float32", "cpu, bfloat16")
    assert re.match(
        r"8 frames changed by \d\.\d of 255 levels, \d+\.\d s", topics["encode, decode"]
    )
    before, after = map(float, re.findall(r"0\.\d+", topics["training step"])[:2])
    assert after < before


def test_doctor_fails_where_something_does_not_work(run, monkeypatch):
    def broken():
        raise ValueError("no such codec")

    monkeypatch.setattr(doctor, "_test_codec", broken)
    code, out, err = run("doctor")
    assert code == 1
    assert "warning: encode, decode: ValueError: no such codec" in out
    assert err.splitlines()[-1] == "error: framecast does not work as it should on this machine"


def test_doctor_tells_what_to_do_about_what_it_knows(run, monkeypatch):
    def broken():
        raise ImportError("libGL.so.1: cannot open shared object file: No such file", name="cv2")

    monkeypatch.setattr(doctor, "_test_codec", broken)
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    code, out, _ = run("doctor")
    assert code == 1
    assert "no-such-package (unknown)" in out
    said = "warning: encode, decode: libGL.so.1, which cv2 needs, is not on this machine; run pip"
    assert said in " ".join(out.split())


def test_doctor_tells_that_there_is_no_folder_for_temporary_files(run, monkeypatch):
    with monkeypatch.context() as patched:  # pytest asks for that folder, too
        patched.setattr("tempfile.tempdir", None)
        patched.setattr("tempfile._candidate_tempdir_list", lambda: ["/dev/null"])
        code, out, err = run("doctor")
    assert code == 1
    assert "decoded frames   nowhere" in out
    said = "warning: no folder for temporary files can be written; set TMPDIR to one that can"
    assert said in " ".join(out.split())
    assert err.splitlines()[-1] == "error: framecast does not work as it should on this machine"


def test_config_show_prints_yaml_and_where_each_setting_comes_from(run, tmp_path, monkeypatch):
    file = tmp_path / "my.yaml"
    file.write_text("train:\n  lr: 5e-4\n  seed: 3\n  ema: 0.5\n")
    monkeypatch.setenv("FRAMECAST_TRAIN_SEED", "4")
    flags = ("--config", file, "--set", "train.ema=0.25", "--crop", 64)
    code, out, err = run("config", "show", *flags)
    assert (code, err) == (0, "")
    origins = dict(re.findall(r"^  (\w+): .*# (.+)$", out, re.MULTILINE))
    assert origins == {
        "lr": str(file),
        "seed": "FRAMECAST_TRAIN_SEED",
        "ema": "--set",
        "crop": "--crop",
    }
    shown = yaml.safe_load(out)
    assert (shown["train"]["lr"], shown["train"]["seed"], shown["train"]["ema"]) == (5e-4, 4, 0.25)
    (tmp_path / "shown.yaml").write_text(out)
    assert load_config(tmp_path / "shown.yaml", env={}).data.crop == 64


def test_config_init_writes_the_commented_settings_and_replaces_nothing(run, tmp_path):
    file = tmp_path / "new.yaml"
    assert run("config", "init", file)[:2] == (0, f"{file}\n")
    assert file.read_text(encoding="utf-8") == example_yaml()
    file.write_text("precious")
    code, _, err = run("config", "init", file)
    assert (code, file.read_text()) == (5, "precious")
    assert err == f"error: {file} exists already; choose another name or pass --overwrite\n"
    assert run("config", "init", file, "--overwrite")[0] == 0
    assert file.read_text(encoding="utf-8") == example_yaml()


def test_config_without_a_known_command_is_misuse(run):
    see = "see framecast config --help\n"
    assert run("config") == (2, "", f"error: Missing command; {see}")
    assert run("config", "nonsense") == (2, "", f"error: No such command 'nonsense'; {see}")


def test_demo_writes_samples_trains_predicts_and_says_where(run, tmp_path):
    folder = tmp_path / "my [red] demo"
    code, out, err = run("demo", folder, "--minutes", "0.01")
    assert code == 0
    assert out.splitlines()[:3] == [
        str(folder / name) for name in ("rain", "shapes.mp4", "pendulum.gif")
    ]
    assert out.splitlines()[3:] == [
        str(folder / name)
        for name in (
            "runs/train-1/best.pt",
            "runs/train-1/preview.gif",
            "future.gif",
            "compared.gif",
        )
    ]
    assert f"$ framecast train '{folder}/rain' --minutes 0.01 --runs '{folder}/runs'" in err
    assert open_source(folder / "future.gif").info.frames == 12
    assert f"Open {folder / 'compared.gif'} " in err
    assert run("demo", folder)[0] == 5


def test_demo_refuses_minutes_before_it_paints(run, tmp_path):
    code, _, err = run("demo", tmp_path / "demo", "--minutes", "0")
    assert code == 2 and "--minutes: train.minutes: expected a number > 0" in err
    assert not (tmp_path / "demo").exists()


def test_demo_can_write_the_samples_alone(run, tmp_path):
    code, out, _ = run("demo", tmp_path / "new" / "clips", "--samples")
    assert (code, len(out.splitlines())) == (0, 3)
    assert {path.name for path in (tmp_path / "new/clips").iterdir()} == {
        *("rain", "shapes.mp4", "pendulum.gif")
    }
