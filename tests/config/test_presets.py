"""Presets: what they set, that the networks they make are those they name, and their listing."""

import pytest

from framecast.cli.main import main
from framecast.config.loading import Config, differences, load_config
from framecast.config.presets import find_preset, presets
from framecast.errors import ConfigError
from framecast.nn.cost_model.network import forecast_totals
from tests.support.media import smooth_clip, write_folder


def test_every_preset_has_a_summary_and_a_source():
    assert list(presets()) == ["gpu", "keras-example", "shi2015"]
    for preset in presets().values():
        assert preset.summary.endswith(".") and len(preset.source) > 30
        assert preset.load() != Config()


def test_shi2015_is_the_papers_network_and_training():
    config = find_preset("shi2015").load()
    assert forecast_totals(config.model, 1, (64, 64)).parameters == 7_585_296  # table 1
    assert (config.data.context_length, config.data.horizon) == (10, 10)
    train = config.train
    assert (train.optimizer, train.loss, train.lr, train.batch_size) == ("rmsprop", "bce", 1e-3, 16)


def test_the_layers_of_the_keras_example():
    model = find_preset("keras-example").load().model
    assert (model.filters, model.kernel_sizes, model.patch) == ((64, 64, 64), (5, 3, 1), 1)


@pytest.mark.parametrize("name", ["shi2015", "keras-example"])
def test_published_networks_see_their_windows_as_they_are(name):
    data = find_preset(name).load().data
    assert not (data.flip or data.turn or data.zoom or data.reverse)


def test_file_environment_and_flags_win_over_a_preset(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("train: {lr: 0.5, batch_size: 3}\n", encoding="utf-8")
    base = find_preset("gpu").load()
    config = load_config(path, ["train.batch_size=4"], {"FRAMECAST_TRAIN_LOSS": "mse"}, base=base)
    changed = differences(base, config)
    assert changed == {"train.lr", "train.batch_size", "train.loss"}
    assert (config.train.lr, config.train.batch_size, config.train.loss) == (0.5, 4, "mse")


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"--preset shi: unknown preset; did you mean shi2015"):
        find_preset("shi")


def test_the_list_is_printed_without_sources_of_clips(capsys):
    assert main(["train", "--preset", "help"]) == 0
    out = capsys.readouterr().out
    for preset in presets().values():
        assert preset.name in out and str(preset.path) in out
    assert "arXiv:1506.04214" in out and "keras.io" in out
    assert main(["train", "x", "--preset", "gpus"]) == 2
    assert "did you mean gpu?" in capsys.readouterr().err


def test_a_preset_trains_and_is_in_the_runs_settings(tmp_path, capsys):
    write_folder(tmp_path / "clip", smooth_clip(24, 32, 40))
    small = ["model.filters=[4]", "model.kernel_size=3", "train.batch_size=2", "train.epochs=1"]
    small += ["data.context_length=3", "data.horizon=2", "train.steps_per_epoch=2"]
    sets = [word for setting in small for word in ("--set", setting)]
    command = ["train", str(tmp_path / "clip"), "--preset", "shi2015", "--seed", "1", *sets]
    assert main([*command, "--runs", str(tmp_path / "runs"), "--quiet", "--device", "cpu"]) == 0
    text = (tmp_path / "runs" / "train-1" / "config.yaml").read_text(encoding="utf-8")
    for line in ("name: shi2015", "optimizer: rmsprop", "loss: bce", "filters: [4]"):
        assert line in text
