"""A short soak: kills at the worst moments lose nothing; the long one is in tests/benchmarks."""

import sys
import tempfile

from tests.benchmarks import soak


def test_killed_trainings_go_on_as_if_nothing_had_happened(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["soak", "--kills", "4"])
    code = soak.main()
    out, err = capfd.readouterr()
    assert code == 0, out + err
    assert out.splitlines()[-1].startswith("4 kills, 0 faults")
    assert not any(tmp_path.iterdir())
