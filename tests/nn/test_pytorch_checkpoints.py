"""Checkpoints of ndrplz and OpenSTL ConvLSTMs, held against cells written here from their rules.

The cells take a state dict with the names and shapes that those projects save, and compute each
gate by itself, so that a wrong order of gates or channels cannot agree.
"""

import pickle

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from framecast.errors import CheckpointError
from framecast.nn.interchange.pytorch_checkpoints import load_ndrplz, load_openstl

B, T, C, H, W = 2, 5, 3, 7, 8
FILTERS, KERNELS = (6, 4), ((3, 5), (5, 3))


def draw(seed, shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.3 * torch.randn(shape, generator=generator, dtype=dtype) + 0.05
        for name, shape in shapes.items()
    }


def frames(channels=C, dtype=torch.float32):
    return torch.randn(
        B, T, channels, H, W, generator=torch.Generator().manual_seed(9), dtype=dtype
    )


def run_cells(x_BTCHW, sums_of_layer):
    """Stack cells; each gives the sums of its gates from x and h as a mapping i, f, o, g."""
    for sums, filters in sums_of_layer:
        h = c = torch.zeros(B, filters, H, W, dtype=x_BTCHW.dtype)
        outputs = []
        for t in range(T):
            z = sums(x_BTCHW[:, t], h)
            c = z["f"].sigmoid() * c + z["i"].sigmoid() * z["g"].tanh()
            h = z["o"].sigmoid() * c.tanh()
            outputs.append(h)
        x_BTCHW = torch.stack(outputs, dim=1)
    return x_BTCHW


def by_gate(order, filters, tensor):
    return {gate: tensor[n * filters : (n + 1) * filters] for n, gate in enumerate(order)}


def same(x, kernel, bias=None):
    return conv2d(x, kernel, bias, padding=tuple(side // 2 for side in kernel.shape[2:]))


def ndrplz_state(bias=True, prefix="", dtype=torch.float32):
    shapes, channels = {}, C
    for n, (filters, kernel) in enumerate(zip(FILTERS, KERNELS, strict=True)):
        shapes[f"{prefix}cell_list.{n}.conv.weight"] = (4 * filters, channels + filters, *kernel)
        if bias:
            shapes[f"{prefix}cell_list.{n}.conv.bias"] = (4 * filters,)
        channels = filters
    return draw(1, shapes, dtype)


def ndrplz_sums(state, n, filters):
    weights = by_gate("ifog", filters, state[f"cell_list.{n}.conv.weight"])
    bias = state.get(f"cell_list.{n}.conv.bias")
    biases = by_gate("ifog", filters, bias) if bias is not None else dict.fromkeys("ifog")
    return lambda x, h: {g: same(torch.cat([x, h], 1), weights[g], biases[g]) for g in "ifog"}


def openstl_state(prefix="", size=3, dtype=torch.float32):
    shapes, channels = {}, C
    for n, filters in enumerate(FILTERS):
        cell = f"{prefix}cell_list.{n}."
        shapes |= {
            f"{cell}conv_x.0.weight": (4 * filters, channels, size, size),
            f"{cell}conv_h.0.weight": (4 * filters, filters, size, size),
            f"{cell}conv_o.0.weight": (filters, 2 * filters, size, size),
            f"{cell}conv_last.weight": (filters, 2 * filters, 1, 1),
        }
        channels = filters
    return draw(2, {**shapes, f"{prefix}conv_last.weight": (C, channels, 1, 1)}, dtype)


def openstl_sums(state, n, filters):
    of_x, of_h = (
        by_gate("ifgo", filters, state[f"cell_list.{n}.conv_{source}.0.weight"]) for source in "xh"
    )
    return lambda x, h: {g: same(x, of_x[g]) + same(h, of_h[g]) for g in "ifgo"}


PROJECTS = {
    "ndrplz": (load_ndrplz, ndrplz_state, ndrplz_sums),
    "openstl": (load_openstl, openstl_state, openstl_sums),
}


def run_layers(layers, x):
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
    return x


def assert_same(load, sums, state, source=None, bound=1e-5):
    dtype = next(iter(state.values())).dtype
    layers = load(state if source is None else source)
    x = frames(dtype=dtype)
    expected = run_cells(x, [(sums(state, n, f), f) for n, f in enumerate(FILTERS)])
    found = run_layers(layers, x)
    assert found.shape == (B, T, FILTERS[-1], H, W)
    assert expected.std() > 0.05
    assert (found - expected).abs().max() <= bound * expected.abs().max()
    return layers


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("bias", [True, False])
def test_ndrplz_gives_equal_outputs(bias):
    state = ndrplz_state(bias)
    layers = assert_same(load_ndrplz, ndrplz_sums, state)
    assert [layer.use_bias for layer in layers] == [bias, bias]
    assert [layer.geometry.kernel_size for layer in layers] == list(KERNELS)
    assert_same(load_ndrplz, ndrplz_sums, ndrplz_state(bias, dtype=torch.float64), bound=1e-12)


def test_openstl_gives_equal_outputs_and_names_what_it_leaves():
    state = openstl_state(size=5)
    with pytest.warns(UserWarning) as caught:
        layers = assert_same(load_openstl, openstl_sums, state)
    assert [layer.use_bias for layer in layers] == [False, False]
    dead = 25 * 2 * (6 * 6 + 4 * 4) + 2 * (6 * 6 + 4 * 4)
    said = [str(warning.message) for warning in caught]
    assert said == [
        f"state dict: conv_o and conv_last of the cells, {dead} weights that OpenSTL never "
        "computes with, were ignored",
        "state dict: not part of the ConvLSTM layers, left: conv_last.weight",
    ]
    assert caught[0].filename == caught[1].filename == __file__


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("project", PROJECTS)
def test_files_and_prefixes_are_read(project, tmp_path):
    load, make, sums = PROJECTS[project]
    state = make()
    lightning = {"state_dict": make(prefix="model."), "epoch": 3, "optimizer_states": [{}]}
    for contents in (state, lightning, {"model_state_dict": make(prefix="module.")}):
        path = tmp_path / "model.ckpt"
        torch.save(contents, path)
        assert_same(load, sums, state, path)
        assert_same(load, sums, state, str(path))
    two = {**make(prefix="encoder."), **make(prefix="decoder.")}
    with pytest.raises(CheckpointError, match=r"2 ConvLSTM stacks .*'encoder\.', 'decoder\.'"):
        load(two)
    assert len(load(two, prefix="decoder.")) == 2
    with pytest.raises(CheckpointError, match=r"0 ConvLSTM stacks .* with prefix 'middle'"):
        load(two, prefix="middle")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("project", PROJECTS)
def test_loading_draws_no_random_numbers_and_shares_no_memory(project):
    load, make, sums = PROJECTS[project]
    state = make()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    layers = load(state)
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        for layer in layers:
            layer.kernel.zero_()
    assert_same(load, sums, state)


def test_layer_norm_of_openstl_is_refused():
    state = openstl_state()
    state["cell_list.0.conv_x.1.weight"] = torch.ones(4 * FILTERS[0], H, W)
    with pytest.raises(CheckpointError, match="layer_norm over channels, height and width"):
        load_openstl(state)


def without(name):
    return lambda state: {k: v for k, v in state.items() if name not in k}


def changed(name, change):
    return lambda state: {k: change(v) if k == name else v for k, v in state.items()}


FIRST = {"ndrplz": "cell_list.0.conv.weight", "openstl": "cell_list.0.conv_x.0.weight"}
BROKEN = {
    "0 ConvLSTM stacks": lambda name: lambda state: {},
    "others are missing": lambda name: without("cell_list.0."),
    "found nothing": without,
    "found torch.int64": lambda name: changed(name, torch.Tensor.long),
    "expected numbers of 4 dimensions": lambda name: changed(name, lambda w: w[0]),
    "do not make a ConvLSTM with an odd kernel": lambda name: changed(name, lambda w: w[..., 1:]),
    "do not make a ConvLSTM": lambda name: changed(name, lambda w: w[:-1]),
    "not finite": lambda name: changed(name, lambda w: w / 0),
    "layer 1 takes": lambda name: (
        lambda state: {
            k.replace("list.0", "list.x").replace("list.1", "list.0").replace("list.x", "list.1"): v
            for k, v in state.items()
        }
    ),
}


@pytest.mark.parametrize("change", [torch.Tensor.sum, lambda bias: bias[1:], torch.Tensor.long])
def test_a_bias_of_ndrplz_that_does_not_fit_is_refused(change):
    with pytest.raises(CheckpointError, match=r"cell_list\.0"):
        load_ndrplz(changed("cell_list.0.conv.bias", change)(ndrplz_state()))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.parametrize("project", PROJECTS)
def test_state_dicts_that_do_not_fit_are_refused(project, message):
    load, make, _ = PROJECTS[project]
    state = BROKEN[message](FIRST[project])(make())
    with pytest.raises(CheckpointError, match=message):
        load(state)


class Code:
    def __reduce__(self):
        return (print, ("code of a checkpoint was run",))


@pytest.mark.parametrize("project", PROJECTS)
def test_damaged_files_and_files_with_code_are_checkpoint_errors(project, tmp_path, capsys):
    load, make, _ = PROJECTS[project]
    path = tmp_path / "model.pt"
    torch.save({**make(), "extra": Code()}, path)
    with pytest.raises(CheckpointError, match=r"save the model's state_dict\(\) alone"):
        load(path)
    path.write_bytes(pickle.dumps(Code()))
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        load(path)
    assert capsys.readouterr().out == ""
    torch.save(make(), path)
    whole = path.read_bytes()
    for cut in np.linspace(0, len(whole) - 1, 25, dtype=int):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"model\.pt: cannot be read"):
            load(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(CheckpointError, match="holds a list, not a state dict"):
        load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "none.pt")
