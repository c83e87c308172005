"""What Linux says of the processor, and what follows for matrix products."""

import pytest

from framecast.runtime.processor import halves_matrix_products

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
