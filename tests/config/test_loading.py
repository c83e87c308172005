"""Settings: layers, lines in errors, YAML's traps, exact round trips and the example file."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framecast.config.loading import (
    Config,
    example_yaml,
    fields,
    from_dict,
    load_config,
    to_dict,
    to_yaml,
)
from framecast.config.schema import DataConfig, ModelConfig, TrainConfig
from framecast.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "framecast.yaml.example"
REGENERATE = (
    "regenerate it: python -c 'from framecast.config.loading import example_yaml as e; "
    'print(e(), end="")\' > framecast.yaml.example'
)


@pytest.fixture
def load(tmp_path):
    """Load YAML text as the file cfg.yaml; messages then begin with `cfg.yaml:LINE`."""

    def from_text(text, overrides=(), env=None):
        path = tmp_path / "cfg.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            return load_config(path, overrides, env or {})
        except ConfigError as error:
            error.message = error.message.replace(str(path), "cfg.yaml")
            raise

    return from_text


def test_defaults_are_the_documented_ones():
    config = load_config(env={})
    assert config == Config()
    assert config.data == DataConfig(
        context_length=6,
        horizon="auto",
        frame_step=1,
        stride=1,
        validation_fraction=0.25,
        split="auto",
        color="auto",
        resize="auto",
        crop=224,
        flip=True,
        turn=False,
        scale=None,
        keep_readable=False,
    )
    assert config.model == ModelConfig("flow-convlstm", (64, 96), 3, 8)
    assert config.train == TrainConfig(
        minutes=10.0,
        epochs=None,
        steps_per_epoch="auto",
        patience=20,
        batch_size="auto",
        lr=1e-3,
        optimizer="adamw",
        weight_decay=1e-4,
        clip_norm=1.0,
        loss="skill",
        ema=0.98,
        seed=0,
        device="auto",
        precision="auto",
        from_scratch=False,
        weights="pretrained",
    )


def test_flag_wins_over_environment_over_file_over_default(load):
    text = "train:\n  lr: 2e-3\n  seed: 2\n  epochs: 2\n"
    env = {"FRAMECAST_TRAIN_SEED": "3", "FRAMECAST_TRAIN_EPOCHS": "3", "HOME": "/x"}
    train = load(text, [("train.epochs", 4, "--epochs")], env).train
    assert (train.patience, train.lr, train.seed, train.epochs) == (20, 2e-3, 3, 4)


def test_the_last_of_several_flags_wins():
    overrides = ["train.seed=1", ("train.seed", 2, "--seed"), "train.seed=3"]
    assert load_config(None, overrides, {}).train.seed == 3


def test_environment_is_read_by_default(monkeypatch):
    monkeypatch.setenv("FRAMECAST_MODEL_FILTERS", "8, 6")
    assert load_config().model.filters == (8, 6)
    assert load_config(env=None).model.filters == (64, 96)


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("train.lr", "1e-3", 0.001),
        ("train.lr", "2", 2.0),
        ("train.lr", ".5", 0.5),
        ("train.minutes", "none", None),
        ("train.minutes", "null", None),
        ("train.minutes", "~", None),
        ("train.minutes", '"none"', None),
        ("train.epochs", "", None),
        ("data.horizon", "auto", "auto"),
        ("data.horizon", "'auto'", "auto"),
        ("data.horizon", "7", 7),
        ("data.flip", "no", False),
        ("data.flip", "On", True),
        ("data.resize", "none", "none"),
        ("data.resize", "96x160", "96x160"),
        ("data.crop", "0", 0),
        ("model.filters", "[8, 6]", (8, 6)),
        ("model.filters", "\n    - 8\n    - 6", (8, 6)),
        ("model.filters", "8", (8,)),
        ("model.patch", "16", 16),
        ("train.device", "cuda:1", "cuda:1"),
        ("train.seed", "4294967295", 4294967295),
    ],
)
def test_yaml_values(load, setting, text, value):
    section, name = setting.split(".")
    read = getattr(getattr(load(f"{section}:\n  {name}: {text}\n"), section), name)
    assert read == value
    assert type(read) is type(value)


HORIZON, SIZE = "an integer >= 1 or auto", "auto, none, SIDE or HEIGHTxWIDTH such as 96x160"
KERNELS = "an odd integer >= 1 or a list of odd integers >= 1 such as [5, 3]"
FILTERS, RATE = "a list of integers >= 1 such as [64, 64]", "a number > 0"
SHARE, PATCH = "a number > 0 and < 1", "one of 1, 2, 4, 8, 16"
DEVICE = "auto, cpu, cuda, cuda:N or mps"


@pytest.mark.parametrize(
    ("setting", "text", "expected", "got"),
    [
        ("data.horizon", "0", HORIZON, "0"),
        ("data.horizon", "1.0", HORIZON, "1.0"),
        ("data.horizon", "1:30", HORIZON, "1:30"),
        ("data.horizon", "012", HORIZON, "012"),
        ("data.horizon", "true", HORIZON, "true"),
        ("data.horizon", "null", HORIZON, "none"),
        ("data.horizon", "'12'", HORIZON, '"12" in quotes'),
        ("data.horizon", "[12]", HORIZON, "[12]"),
        ("data.horizon", "{a: 1}", HORIZON, "a mapping"),
        ("data.horizon", "atuo", HORIZON, "atuo; did you mean auto?"),
        ("data.validation_fraction", "1", SHARE, "1"),
        ("data.validation_fraction", "0.0", SHARE, "0.0"),
        ("data.color", "no", "one of auto, gray, rgb", "no"),
        ("data.color", "grey", "one of auto, gray, rgb", "grey; did you mean gray?"),
        ("data.resize", "096", SIZE, "096"),
        ("data.resize", "0x160", SIZE, "0x160"),
        ("data.flip", "1", "true or false", "1"),
        ("data.flip", "'yes'", "true or false", '"yes" in quotes'),
        ("data.crop", "-1", "an integer >= 0", "-1"),
        ("model.kernel_size", "4", KERNELS, "4"),
        ("model.kernel_size", "[3, 4]", KERNELS, "[3, 4]"),
        ("model.patch", "3", PATCH, "3"),
        ("model.patch", "'4'", PATCH, '"4" in quotes'),
        ("model.filters", "[]", FILTERS, "[]"),
        ("model.filters", "[8, 0]", FILTERS, "[8, 0]"),
        ("model.filters", "[8, '6']", FILTERS, '[8, "6"]'),
        ("model.filters", "[[8], 6]", FILTERS, "a list"),
        ("train.lr", "0", RATE, "0"),
        ("train.lr", ".nan", RATE, ".nan"),
        ("train.lr", "1e999", RATE, "1e999"),
        ("train.lr", "!!python/name:os.system x", RATE, "x"),
        ("train.lr", "!x 1", RATE, "the YAML tag !x"),
        ("train.epochs", "0", "an integer >= 1 or none", "0"),
        ("train.ema", "1", "a number >= 0 and < 1", "1"),
        ("train.seed", "4294967296", "an integer >= 0 and < 4294967296", "4294967296"),
        ("train.device", "cuda:x", DEVICE, "cuda:x"),
        ("train.device", "gpu", DEVICE, "gpu"),
    ],
)
def test_a_refused_value_names_its_line(load, setting, text, expected, got):
    section, name = setting.split(".")
    with pytest.raises(ConfigError) as caught:
        load(f"# one\n{section}:\n\n  {name}: {text}\n")
    assert str(caught.value) == f"cfg.yaml:4: {setting}: expected {expected}, got {got}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "data:\n  horizn: 3\n",
            "cfg.yaml:2: data.horizn: unknown setting; did you mean data.horizon?",
        ),
        ("data:\n  lr: 3\n", "cfg.yaml:2: data.lr: unknown setting; did you mean train.lr?"),
        (
            "train:\n  batch-size: 3\n",
            "cfg.yaml:2: train.batch-size: unknown setting; did you mean train.batch_size?",
        ),
        (
            "model:\n  xyzzy: 3\n",
            "cfg.yaml:2: model.xyzzy: unknown setting; model has name, filters, kernel_size, "
            "patch, units",
        ),
        ("\ntrian:\n  lr: 3\n", "cfg.yaml:2: trian: unknown section; did you mean train?"),
        ("\nlearn: 3\n", "cfg.yaml:2: learn: unknown section; the sections are data, model, train"),
        ("\nhorizn: 3\n", "cfg.yaml:2: horizn: unknown section; write horizon: under data:"),
        ("\nlr: 3\n", "cfg.yaml:2: lr: unknown section; write lr: under train:"),
        ("train.lr: 3\n", "cfg.yaml:1: train.lr: unknown section; write lr: under train:"),
        ("zz: 1\n", "cfg.yaml:1: zz: unknown section; the sections are data, model, train"),
        (
            "data:\n  stride: 1\n  crop: 2\n  stride: 3\n",
            "cfg.yaml:4: stride: set twice, first on line 2; keep one",
        ),
        (
            "data:\n  stride: 1\ntrain:\n  lr: 1\ndata:\n  crop: 3\n",
            "cfg.yaml:5: data: set twice, first on line 1; keep one",
        ),
        (
            "- data\n",
            "cfg.yaml:1: the file: expected settings as `name: value` lines, got a list",
        ),
        ("train: 3\n", "cfg.yaml:1: train: expected settings as `name: value` lines, got 3"),
        ("data:\n  [a]: 3\n", "cfg.yaml:2: expected a setting's name, got a list"),
        (
            "data:\n  stride: [1\n",
            "cfg.yaml:3: not YAML: while parsing a flow sequence expected ',' or ']', but got",
        ),
        (
            "data:\n\tstride: 1\n",
            "cfg.yaml:2: not YAML: while scanning for the next token found character '\\t' that "
            "cannot start any token; write settings as `name: value` lines, indented with spaces",
        ),
        (
            "data:\n  stride: 1\n---\ndata:\n",
            "cfg.yaml:3: not YAML: expected a single document in the stream but found another",
        ),
        ("data:\n  stride: *x\n", "cfg.yaml:2: not YAML: found undefined alias 'x'"),
        ("data:\n  \x00stride: 1\n", "cfg.yaml:2: not YAML: character 0x00; remove it"),
        (b"data:\n  # \xff\n", "cfg.yaml:2: not UTF-8 text; save it as UTF-8"),
        ("[" * 20_000, "cfg.yaml: not a configuration: nested too deeply"),
        (r'data: {scale: "\U00110000"}', "cfg.yaml: not YAML: a character beyond Unicode"),
        (r'data: {scale: "\UFFFFFFFF"}', "cfg.yaml: not YAML: a character beyond Unicode"),
    ],
)
def test_a_file_that_is_refused(load, text, says):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "data:\n", "data: {}\ntrain: ~\n", "\ufeff"])
def test_a_file_without_settings_gives_the_defaults(load, text):
    assert load(text) == Config()


def test_a_byte_order_mark_is_no_part_of_the_first_key(load):
    assert load("\ufefftrain:\n  seed: 7\n").train.seed == 7


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file or directory; check"):
        load_config(tmp_path / "none.yaml", env={})
    with pytest.raises(ConfigError, match=rf"{tmp_path}: is a directory; check"):
        load_config(tmp_path, env={})


def test_a_refused_value_counts_even_where_a_flag_replaces_it(load):
    with pytest.raises(ConfigError, match=r"cfg\.yaml:2: train\.seed: expected"):
        load("train:\n  seed: -1\n", ["train.seed=1"])


NO_VARIABLE = "no setting has this environment variable"
WRONG_HORIZON = f"data.horizon: expected {HORIZON}, got"


@pytest.mark.parametrize(
    ("override", "origin", "says"),
    [
        ("data.horizon=0", "--set data.horizon=0", f"{WRONG_HORIZON} 0"),
        (("data.horizon", 0, "--horizon"), "--horizon", f"{WRONG_HORIZON} 0"),
        (("data.horizon", "many", "--horizon"), "--horizon", f"{WRONG_HORIZON} many"),
        (
            "train.lr",
            "--set train.lr",
            "no value; write --set section.name=value, as in train.lr=1e-3",
        ),
        ("=1", "--set =1", "no name; write --set section.name=value, as in train.lr=1e-3"),
        ("train.lr=", "--set train.lr=", f"train.lr: expected {RATE}, got nothing"),
        ("lr=1", "--set lr=1", "lr: unknown setting; did you mean train.lr?"),
        (
            "zz=1",
            "--set zz=1",
            "zz: unknown setting; settings are named section.name, with the sections data, model, "
            "train",
        ),
        (
            "trian.sed=1",
            "--set trian.sed=1",
            "trian.sed: unknown setting; did you mean train.seed?",
        ),
        ("batch=1", "--set batch=1", "batch: unknown setting; did you mean train.batch_size?"),
        (
            "train.learning_rate=1",
            "--set train.learning_rate=1",
            "train.learning_rate: unknown setting; did you mean train.lr?",
        ),
        (
            "model.workers=1",
            "--set model.workers=1",
            "model.workers: unknown setting; model has name, filters, kernel_size, patch, units, "
            "recurrent_kernel_size",
        ),
        ({"TRAIN_LR": "fast"}, "FRAMECAST_TRAIN_LR", f"train.lr: expected {RATE}, got fast"),
        ({"LR": "1"}, "FRAMECAST_LR", f"{NO_VARIABLE}; did you mean FRAMECAST_TRAIN_LR?"),
        (
            {"DATA_CONTEXTLENGTH": "1"},
            "FRAMECAST_DATA_CONTEXTLENGTH",
            f"{NO_VARIABLE}; did you mean FRAMECAST_DATA_CONTEXT_LENGTH?",
        ),
        (
            {"TRAIN_LEARNING_RATE": "1"},
            "FRAMECAST_TRAIN_LEARNING_RATE",
            f"{NO_VARIABLE}; did you mean FRAMECAST_TRAIN_LR?",
        ),
        ({"": "1"}, "FRAMECAST_", f"{NO_VARIABLE}; unset it"),
    ],
)
def test_a_refused_flag_or_variable_is_named(override, origin, says):
    env = {}
    if isinstance(override, dict):
        env = {f"FRAMECAST_{name}": value for name, value in override.items()}
    with pytest.raises(ConfigError) as caught:
        load_config(None, [] if env else [override], env)
    assert str(caught.value) == f"{origin}: {says}"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"data": {"horizon": "0"}}, f"{WRONG_HORIZON} '0'"),
        ({"data": {"horizon": True}}, f"{WRONG_HORIZON} true"),
        ({"data": {"flip": 1}}, "data.flip: expected true or false, got 1"),
        ({"train": {"lr": float("nan")}}, f"train.lr: expected {RATE}, got nan"),
        ({"train": {"lr": None}}, f"train.lr: expected {RATE}, got none"),
        ({"model": {"patch": 4.0}}, f"model.patch: expected {PATCH}, got 4.0"),
        ({"model": {"patc": 4}}, "model.patc: unknown setting; did you mean model.patch?"),
        ({"modle": {}}, "modle: unknown section; did you mean model?"),
        ({"data": 3}, "data: expected a mapping, got 3"),
        ([1], "settings: expected a mapping, got [1]"),
    ],
)
def test_from_dict_is_strict(values, says):
    with pytest.raises(ConfigError) as caught:
        from_dict(values)
    assert str(caught.value) == says


def test_an_integer_beyond_floats_is_refused():
    with pytest.raises(ConfigError, match=r"train\.lr: expected a number > 0, got 1000"):
        TrainConfig(lr=10**400)
    with pytest.raises(ConfigError, match=r"train\.minutes: expected a number > 0 or none"):
        load_config(None, ["train.minutes=" + "9" * 400], {})


def test_kernels_are_one_for_all_layers_or_one_for_each(load):
    assert load("model:\n  kernel_size: 5\n").model.kernel_sizes == (5, 5)
    each = load("model:\n  kernel_size: [5, 3]\n").model
    assert (each.kernel_size, each.kernel_sizes) == ((5, 3), (5, 3))
    by_flag = load_config(overrides=["model.kernel_size=7,1"], env={}).model
    assert by_flag.kernel_sizes == (7, 1)
    lstm = ModelConfig("fc-lstm", kernel_size=(5, 3, 1), units=(4, 4, 4, 4))
    assert lstm.kernel_sizes == (1, 1, 1, 1)
    with pytest.raises(ConfigError) as caught:
        load("model:\n  filters: [8]\n  kernel_size: [5, 3]\n")
    assert str(caught.value) == (
        "model.kernel_size: expected a list of 1, one for each layer of model.filters [8], "
        "got [5, 3]; give one integer for all layers, or as many as there are filters"
    )


def test_a_section_checks_itself_and_is_frozen():
    with pytest.raises(ConfigError, match=r"^model\.filters: expected a list of integers >= 1"):
        ModelConfig(filters=())
    model = dataclasses.replace(ModelConfig(), filters=[8, 6])
    assert model.filters == (8, 6)
    assert type(TrainConfig(lr=2).lr) is float
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.patch = 4


def _value_of(spec):
    """Valid values of a setting, written independently of the code that checks them."""
    odd = st.integers(0, 50).map(lambda n: 2 * n + 1)
    special = {
        "data.validation_fraction": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "data.resize": st.sampled_from(["auto", "none", "7x8", "1080x1920"]),
        "data.crop": st.integers(0, 10**6),
        "data.max_frames": st.sampled_from(["auto", None, 2, 10**12]),
        "data.range": st.sampled_from(["auto", "full", "0..4095", "-32.5..1e2"]),
        "data.axes": st.sampled_from(["auto", "TNHW", "NTHWC", "HWT"]),
        "data.variable": st.none() | st.sampled_from(["rain", "group/rain"]),
        "data.scale": st.none() | st.sampled_from(["-10..60 dBZ", "0.1..200 mm/h log"]),
        "model.filters": st.lists(st.integers(1, 10**4), min_size=1).map(tuple),
        "model.units": st.lists(st.integers(1, 10**4), min_size=1).map(tuple),
        "model.recurrent_kernel_size": st.sampled_from([None, 1, 5]),
        "model.kernel_size": odd | st.lists(odd, min_size=1, max_size=3).map(tuple),
        "train.minutes": st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
        "train.optimizer": st.sampled_from(["adamw", "rmsprop"]),
        "train.weight_decay": st.floats(0, allow_infinity=False),
        "train.ema": st.floats(0, 1, exclude_max=True),
        "train.seed": st.integers(0, 2**32 - 1),
        "train.weights": st.sampled_from(["pretrained", "runs/train-1", "my models/a.pt"]),
        "train.device": st.sampled_from(["auto", "cpu", "cuda", "cuda:10", "mps"]),
    }
    if spec.dotted in special:
        return special[spec.dotted]
    choices = st.sampled_from(spec.literals) if spec.literals else st.nothing()
    by_kind = {
        int: st.integers(1, 10**12),
        float: st.floats(0, exclude_min=True, allow_infinity=False),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return st.one_of(choices, *(by_kind[kind] for kind in spec.kinds))


def _with_as_many_kernels_as_layers(values):
    kernels, layers = values["model.kernel_size"], len(values["model.filters"])
    if isinstance(kernels, tuple):
        values["model.kernel_size"] = (kernels * layers)[:layers]
    return values


PROBABLE = ("frame-convlstm", "shi2015")

CONFIGS = (
    st.fixed_dictionaries({spec.dotted: _value_of(spec) for spec in fields()})
    .filter(
        lambda values: values["train.weights"] == "pretrained" or not values["train.from_scratch"]
    )
    .filter(lambda values: values["train.loss"] != "bce" or values["model.name"] in PROBABLE)
    .map(_with_as_many_kernels_as_layers)
    .map(
        lambda values: Config(
            *(
                cls(**{k.split(".")[1]: v for k, v in values.items() if k.startswith(cls.SECTION)})
                for cls in (DataConfig, ModelConfig, TrainConfig)
            )
        )
    )
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=CONFIGS)
def test_round_trips_are_exact(tmp_path_factory, config):
    assert from_dict(to_dict(config)) == config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    path = tmp_path_factory.getbasetemp() / "resolved.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path, env={}) == config
    flags = [
        f"{section}.{name}={str(value).lower() if value is None else value}"
        for section, entries in to_dict(config).items()
        for name, value in entries.items()
    ]
    assert load_config(None, flags, {}) == config


def test_cross_entropy_is_refused_for_networks_whose_frames_reach_0_and_1():
    message = "train.loss: bce needs frames strictly between 0 and 1, which model.name convlstm"
    with pytest.raises(ConfigError, match=message):
        load_config(None, ["train.loss=bce", "model.name=convlstm"], {})
    with pytest.raises(ConfigError, match="bce needs frames"):
        from_dict({"train": {"loss": "bce"}})
    for name in PROBABLE:
        settings = ["train.loss=bce", f"model.name={name}"]
        assert load_config(None, settings, {}).train.loss == "bce"


def test_settings_left_out_of_a_dict_take_their_defaults():
    assert from_dict({"train": {"seed": 7}}) == Config(train=TrainConfig(seed=7))


def test_the_example_file_is_generated_from_the_code():
    assert EXAMPLE.read_text(encoding="utf-8") == example_yaml(), REGENERATE
    assert load_config(EXAMPLE, env={}) == Config()
    assert max(map(len, example_yaml().splitlines())) <= 100


def test_every_setting_is_described_for_help():
    specs = {spec.dotted: spec for spec in fields()}
    assert len(specs) == 20 + 6 + 17
    assert all(spec.help.endswith(".") and spec.expects for spec in specs.values())
    assert specs["data.horizon"].default == "auto"
    assert specs["data.horizon"].env == "FRAMECAST_DATA_HORIZON"
    assert specs["data.horizon"].expects == "an integer >= 1 or auto"
    for spec in specs.values():
        assert spec.check(spec.default) == spec.default


def test_settings_and_variables_of_earlier_versions_are_ignored(tmp_path):
    (tmp_path / "old.yaml").write_text("data: {cache_gb: 20, crop: 96}\n")
    config = load_config(tmp_path / "old.yaml", env={"FRAMECAST_CACHE": "somewhere"})
    assert config.data.crop == 96
    saved = to_dict(config)
    saved["data"]["cache_gb"] = 20.0  # as model files have it
    assert from_dict(saved) == config
