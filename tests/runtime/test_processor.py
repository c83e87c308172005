"""What Linux says of the processor, and what follows for matrix products and threads."""

import os

import pytest

from framecast.runtime import processor
from framecast.runtime.processor import halves_matrix_products, limited_threads

CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: 2
flags\t\t: fpu sse2 {flags} xsave

processor\t: 1
vendor_id\t: {vendor}
"""


@pytest.mark.parametrize(
    ("vendor", "family", "flags", "halved"),
    [
        ("AuthenticAMD", 26, "avx2 avx512f avx512dq", True),
        ("AuthenticAMD", 27, "avx512f", True),
        ("AuthenticAMD", 25, "avx2 avx512f", False),  # Zen 4 multiplies 256 bits at once
        ("AuthenticAMD", 26, "avx2", False),  # switched off, as a virtual machine may
        ("GenuineIntel", 26, "avx2 avx512f", False),
    ],
)
def test_amd_processors_that_convolve_twice_as_wide(vendor, family, flags, halved, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO.format(vendor=vendor, family=family, flags=flags))
    assert halves_matrix_products(path) is halved


def test_systems_that_say_nothing_of_the_processor(tmp_path):
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n")
    assert halves_matrix_products(tmp_path / "arm") is False
    assert halves_matrix_products(tmp_path / "nothing") is False


@pytest.mark.parametrize(
    ("limits", "threads"),
    [((), None), ((0.5,), 1), ((1.5, 6), 2), ((6.2,), None), ((7,), None), ((64,), None)],
)
def test_as_many_threads_as_a_limit_lets_run(limits, threads, monkeypatch):
    monkeypatch.setattr(processor, "processor_limits", lambda: limits)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(7)), raising=False)
    assert limited_threads() == threads
