"""Fuzzing that is led by coverage, with Atheris, which is installed by hand (pip install atheris):

    python -m tests.benchmarks.fuzz.guided npy CORPUS -max_total_time=600

Input of one kind is changed until it runs lines that none has run; only an error of framecast's own
may come of it. CORPUS is a folder that keeps such input, so that another run goes on from there;
what follows are options of libFuzzer. It stops at the first fault and names the file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["framecast"]):
    from framecast.config.loading import load_config
    from framecast.errors import FramecastError
    from framecast.prediction.checkpoint import load_checkpoint
    from framecast.video.readers.open import open_source

    from .generators import valid_files


def read(path: Path) -> None:
    """Do with a file what commands do with it first."""
    if path.suffix == ".pt":
        load_checkpoint(path).forecaster()
    elif path.suffix == ".yaml":
        load_config(path, [], {})
    else:
        for _ in open_source(path).read():
            pass


def main() -> None:
    kind, corpus, *options = sys.argv[1:]
    folder, place = Path(corpus), Path(tempfile.mkdtemp(prefix="framecast-guided-"))
    folder.mkdir(parents=True, exist_ok=True)
    first = valid_files(place) | {"yaml": b"data:\n  horizon: 3\nmodel:\n  filters: [4, 5]\n"}
    (folder / "valid").write_bytes(first[kind])

    def one_input(data: bytes) -> None:
        path = place / f"input.{kind}"
        path.write_bytes(data)
        try:
            read(path)
        except FramecastError as error:
            if "\n" in str(error):
                raise AssertionError("an error of two lines") from error

    atheris.Setup([sys.argv[0], corpus, *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
