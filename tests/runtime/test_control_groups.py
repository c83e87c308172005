"""What a process may use, as the files of its control groups say in versions 1 and 2."""

import pytest

from framecast.runtime.control_groups import memory_limits, processor_limits


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "700\n"}, [700]),
        ("0::/a/b\n", {"a/b/memory.max": "500", "a/memory.max": "700"}, [500, 700]),
        ("0::/host/path\n", {"memory.max": "900\n"}, [900]),
        ("0::/\n", {"memory.max": "300\n"}, [300]),
        (
            "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
            {"memory/x/memory.limit_in_bytes": "600", "memory/memory.limit_in_bytes": "9223372036"},
            [600, 9223372036],
        ),
        ("4:hugetlb,memory:/docker/1\n", {"memory/memory.limit_in_bytes": "800"}, [800]),
        ("0::/a:b\n", {"a:b/memory.max": "400"}, [400]),
        ("0::/\n", {}, []),
    ],
)
def test_every_limit_of_memory_on_the_way_counts(tmp_path, groups, files, limits):
    write(tmp_path, {"proc/self/cgroup": groups})
    write(tmp_path / "sys/fs/cgroup", files)
    assert list(memory_limits(tmp_path)) == limits


def test_limits_are_read_once(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    write(tmp_path / "sys/fs/cgroup", {"memory.max": "300"})
    assert memory_limits(tmp_path) == (300,)
    (tmp_path / "proc/self/cgroup").unlink()
    assert memory_limits(tmp_path) == (300,)


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert memory_limits(tmp_path) == processor_limits(tmp_path) == ()


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"}, [2.5]),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "60000 20000"}, [0.5, 3]),
        ("0::/host/path\n", {"cpu.max": "max 100000\n"}, []),
        (
            "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
            {
                "cpu/x/cpu.cfs_quota_us": "150000\n",
                "cpu/x/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
            [1.5],
        ),
        ("4:cpuset:/x\n", {"cpuset/x/cpu.max": "100000 100000"}, []),
        ("0::/\n", {"cpu.max": "100000 0"}, []),
        ("0::/\n", {}, []),
    ],
)
def test_every_limit_of_the_processor_on_the_way_counts(tmp_path, groups, files, limits):
    write(tmp_path, {"proc/self/cgroup": groups})
    write(tmp_path / "sys/fs/cgroup", files)
    assert list(processor_limits(tmp_path)) == limits
