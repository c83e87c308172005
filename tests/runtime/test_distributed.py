"""Two processes train as one: the same weights, one run folder, one voice, one end."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch.distributed import TCPStore

from framecast.cli.main import main
from framecast.errors import ResourceError, UsageError
from framecast.prediction.checkpoint import load_checkpoint
from framecast.runtime.device import pick_device
from framecast.runtime.distributed import Group, _own_device, joined
from framecast.training.trainer import Trainer
from tests.support.children import run_children
from tests.support.tiny_runs import TINY

BATCH = 5
LIMIT, COMPUTED = 120, 30
"""Seconds that torchrun may take, and that a forked process may compute."""
# As users start it: Python taking PyTorch's groups apart on its way out aborts now and then
COMMAND = "from framecast.cli.main import program; program()"
FLAGS = [flag for flag in TINY if not flag.startswith(("--batch-size", "--epochs", "--quiet"))]
# Where the network does not matter, one that starts at once
PLAIN = [*FLAGS, "--set=model.name=convlstm"]


@contextmanager
def torchrun(*arguments):
    """Two processes started with torchrun that run the command line.

    Whatever still runs after LIMIT seconds, or after the test, is ended by torchrun.
    """
    starter = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen(
        [*starter, "--no-python", sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    end = threading.Timer(LIMIT, process.terminate)
    end.start()
    try:
        yield process
    finally:
        end.cancel()
        process.terminate()
        process.communicate()


def forked(folder, *arguments):
    """What came of two forked processes that run the command line as torchrun starts them.

    Forked, because what a new process imports takes longer than all that is tested here. This
    process keeps the address where they meet, as torchrun does.
    """
    meeting = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)

    def call(rank):
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK="0",  # as on two machines
            WORLD_SIZE="2",
            MASTER_ADDR="localhost",
            MASTER_PORT=str(meeting.port),
            TORCHELASTIC_USE_AGENT_STORE="True",
        )
        return main([*map(str, arguments)])

    places = [folder / f"process-{rank}" for rank in range(2)]
    for place in places:
        place.mkdir(parents=True)
    return run_children({place: partial(call, rank) for rank, place in enumerate(places)}, COMPUTED)


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_processes_equal_one_on_the_same_batches_also_when_resumed(run, clips, tmp_path):
    """Five windows a step: shares of two and three, which have to count by their number."""
    common = ["train", clips / "color.mp4", *FLAGS, "--batch-size", BATCH]
    one = tmp_path / "one/train-1"
    assert run(*common, "--epochs", 1, "--runs", tmp_path / "one")[0] == 0
    assert run("train", "--resume", one, "--epochs", 2)[0] == 0
    two = tmp_path / "two/train-1"
    ends = forked(tmp_path / "first", *common, "--epochs", 1, "--runs", tmp_path / "two")
    assert [end.code for end in ends] == [0, 0], ends
    assert ends[0].out.splitlines() == [str(two / "best.pt"), str(two / "preview.gif")]
    assert ends[0].err.count("windows of ") == ends[0].err.count("\n    1 ") == 1
    assert ends[1].out == ends[1].err == ""
    ends = forked(tmp_path / "second", "train", "--resume", two, "--epochs", 2)
    assert [end.code for end in ends] == [0, 0], ends
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["train-1"]

    # Neither run got better than it started, so that both still have what they started from.
    assert [row["improved"] for row in rows(one)] == ["True", "False", "False"]
    start, same = (load_checkpoint(folder / "best.pt").weights for folder in (one, two))
    expected, found = (load_checkpoint(folder / "last.pt").weights for folder in (one, two))
    for key, before in start.items():
        assert torch.equal(same[key], before), key
        # As a whole: Adam divides by what gradients usually are, so of 65,000 weights one or two
        # whose gradients are next to 0 differ by as much as rounding changed those.
        learnt, apart = (expected[key] - before).norm(), (found[key] - expected[key]).norm()
        assert apart <= 1e-3 * learnt, key
    assert len(rows(two)) == 3
    for expected, found in zip(rows(one), rows(two), strict=True):
        assert (expected["epoch"], expected["step"]) == (found["epoch"], found["step"])
        for name in ("train_loss", "validation_mse", "persistence_mse", "flow_mse"):
            if expected[name]:
                assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-4), name


def test_two_processes_score_as_one_and_one_of_them_speaks(run, clips, tmp_path):
    """An odd number of windows, in parts that share frames: every figure, the summary, a file."""
    assert run("train", clips / "color.mp4", *PLAIN, "--epochs", 1, "--runs", tmp_path)[0] == 0
    command = ["evaluate", tmp_path / "train-1", clips / "color.mp4", "--include-training"]
    command += ["--windows", 5, "--threshold", 0.4]
    code, expected, _ = run(*command, "--json")
    assert code == 0
    ends = forked(tmp_path / "two", *command, "--json", "--csv", tmp_path / "two.csv")
    assert [end.code for end in ends] == [0, 0], ends
    assert ends[1].out == ends[1].err == ""
    one, two = json.loads(expected), json.loads(ends[0].out)
    assert len(one["windows"]) == 5
    assert_alike(one, two)
    with (tmp_path / "two.csv").open() as file:
        figures = {(row["forecaster"], row["metric"]) for row in csv.DictReader(file)}
    assert ("framecast", "ssim") in figures


def assert_alike(one, two):
    """The same but for the order in which numbers were summed up."""
    if isinstance(one, dict | list):
        assert len(one) == len(two)
        pairs = one.items() if isinstance(one, dict) else enumerate(one)
        for key, value in pairs:
            assert_alike(value, two[key])
    else:
        assert two == (pytest.approx(one, rel=1e-9) if isinstance(one, float) else one)


def test_ctrl_c_at_torchrun_saves_once_and_stops_both(clips, tmp_path):
    flags = [*PLAIN, "--batch-size", 2, "--runs", tmp_path]
    with torchrun("train", clips / "grey.npy", *flags) as process:
        seen = []
        while not (line := process.stderr.readline()).startswith("    1 "):
            assert line, seen
            seen.append(line)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.count("error: stopped after step ") == 1
    stopped = load_checkpoint(tmp_path / "train-1/last.pt").progress["counters"]["step"]
    assert f"error: stopped after step {stopped}, " in err


def forked_training(clips, folder, monkeypatch, before_step):
    """What came of two processes that train and call a function of the trainer ahead of steps."""
    step = Trainer._step

    def watched(self, batch):
        before_step(self)
        step(self, batch)

    monkeypatch.setattr(Trainer, "_step", watched)
    flags = [*PLAIN, "--batch-size", 2, "--runs", folder]
    return forked(folder, "train", clips / "grey.npy", *flags)


def test_a_signal_to_one_process_saves_once_and_stops_both(clips, tmp_path, monkeypatch):
    def terminate(trainer):
        if trainer.group.rank == 1 and trainer.counters.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    ends = forked_training(clips, tmp_path, monkeypatch, terminate)
    assert [end.code for end in ends] == [130, 130], ends
    assert ends[0].err.count("error: stopped after step 3, ") == 1
    assert ends[1].err == ""
    assert load_checkpoint(tmp_path / "train-1/last.pt").progress["counters"]["step"] == 3


def test_an_error_in_one_process_ends_the_other_too(clips, tmp_path, monkeypatch):
    def fail(trainer):
        if trainer.group.rank == 1 and trainer.counters.step == 1:
            raise ResourceError("out of memory")

    ends = forked_training(clips, tmp_path, monkeypatch, fail)
    assert [end.code for end in ends] == [9, 9], ends
    assert ends[0].err.splitlines()[-1].startswith("error: another process of this command stopped")
    assert ends[1].err == "error: out of memory\n"
    assert load_checkpoint(tmp_path / "train-1/last.pt").progress["counters"]["step"] == 0


def test_shares_cover_a_batch_once_and_too_small_a_batch_is_refused():
    for size in (1, 2, 3, 5):
        shares = [Group("cpu", rank, size).share(BATCH) for rank in range(size)]
        assert [sample for share in shares for sample in share] == list(range(BATCH))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(UsageError, match="a batch of 5 windows cannot be shared by 6 proc") as told:
        Group("cpu", 0, 6).share(BATCH)
    assert "--batch-size 6 or more" in str(told.value)


def test_parts_are_rows_of_items_that_cover_them_once_also_where_they_are_few():
    for size, count in ((1, 4), (3, 7), (3, 2)):
        parts = [Group("cpu", rank, size).part(range(count)) for rank in range(size)]
        assert [number for part in parts for number in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_windows_are_dealt_out_once():
    dealt = [Group("cpu", rank, 3).every(range(7)) for rank in range(3)]
    assert sorted(number for part in dealt for number in part) == list(range(7))
    assert max(map(len, dealt)) == 3


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ("WORLD_SIZE=two", "WORLD_SIZE is two"),
        ("WORLD_SIZE=0", "WORLD_SIZE is 0"),
        ("WORLD_SIZE=2", "RANK is not set"),
        ("WORLD_SIZE=2 RANK=2", "RANK is 2"),
        ("WORLD_SIZE=2 RANK=-1", "RANK is -1"),
        ("WORLD_SIZE=2 RANK=0 LOCAL_RANK=x", "LOCAL_RANK is x"),
        ("WORLD_SIZE=2 RANK=0", "MASTER_ADDR is not set"),
        ("WORLD_SIZE=2 RANK=0 MASTER_ADDR=localhost MASTER_PORT=x", "MASTER_PORT is x"),
    ],
)
def test_what_torchrun_would_not_set_is_refused(monkeypatch, environment, found):
    for setting in environment.split():
        monkeypatch.setenv(*setting.split("="))
    with pytest.raises(UsageError, match=f"{found}.*start the processes with torchrun"):
        joined("cpu").__enter__()


def test_a_rank_without_other_processes_silences_nothing(run, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert run("train") == (
        2,
        "",
        "error: no SOURCE given; name a frame folder, video, GIF or array\n",
    )


def test_each_process_has_a_device_of_its_own(monkeypatch):
    assert _own_device("cpu", 1) == "cpu"
    for setting in ("mps", "cuda:1"):
        with pytest.raises(UsageError, match="several processes cannot share it"):
            _own_device(setting, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == "cuda"
    assert _own_device("auto", 1) == "cuda:1"
    with pytest.raises(ResourceError, match=r"cuda:2 is not on this machine .*found: 2"):
        _own_device("cuda", 2)
