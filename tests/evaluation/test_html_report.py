"""The HTML page: one file, everything in it, the right windows to play."""

import base64
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.html_report import _error_plot, render, typical_windows
from framecast.evaluation.report import MODEL, format_score
from framecast.evaluation.task import EvaluationRequest, open_task
from framecast.prediction.baselines import BASELINES
from framecast.video.readers.open import open_source
from tests.support.tiny_runs import CONTEXT, HORIZON


@pytest.fixture(scope="module")
def task(clips, grey_run):
    request = EvaluationRequest(include_training=True, protocol="nowcast", thresholds=("0.4",))
    return open_task(grey_run, [clips / "grey.npy"], request, device="cpu")


@pytest.fixture(scope="module")
def report(task):
    return evaluate_task(task)


@pytest.fixture(scope="module")
def page(report, task):
    return render(report, task)


class Outline(HTMLParser):
    """Checks that tags close in order; keeps the attributes that could load something."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img", "br", "source"):
            self.open.append(tag)
        names = ("src", "href", "xlink:href", "data", "poster")
        self.loads += [value for name, value in attrs if name in names]

    def handle_startendtag(self, tag, attrs):
        names = ("src", "href", "xlink:href")
        self.loads += [value for name, value in attrs if name in names]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert len(outline.loads) >= 3
    assert all(load.startswith(("data:", "#")) for load in outline.loads)
    assert not re.search(r"url\(\s*['\"]?(?!#)", page)
    assert "@import" not in page
    assert "<script" not in page


def test_it_says_all_that_the_report_knows(page, report, task):
    assert report.summary[1:] in page.replace("\N{NON-BREAKING HYPHEN}", "-")
    assert not re.search(r"\d-\d", re.search(r'<p class="summary">(.*?)</p>', page)[1])
    assert "These windows hold frames the model was trained on." in page
    for text in (*report.definitions, *report.titles.values(), *report.notes):
        assert text.replace(">", "&gt;") in page
    for name in (MODEL, *BASELINES):
        assert f"<th>{name}</th>" in page
    assert "context_length: 3" in page
    assert f"{1000 * report.scores[MODEL]['mse'][1]:#.4g}</td>" in page
    assert page.count("<svg") == 2
    assert "#010203" not in page


def test_no_two_forecasters_have_lines_of_one_look(report):
    names = [MODEL, *BASELINES, "pysteps", "S-PROG", "S-PROG unmatched", "ANVIL", "another"]
    scores = dict.fromkeys(names, report.scores[MODEL])
    plot = _error_plot(dataclasses.replace(report, scores=scores))
    looks = re.findall(r'<path d="[^"]*"[^>]*style="(fill: none; [^"]*stroke: #[^"]*)"', plot)
    lines = {look for look in looks if "stroke-width: 1.4" in look or "stroke-width: 2.6" in look}
    assert len(lines) == len(names) == 10


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_its_videos_play_with_and_without_licensed_codecs(page, tmp_path, kind):
    found = rf'<source type="video/{kind}" src="data:video/{kind};base64,([^"]+)">'
    videos = re.findall(found, page)
    assert len(videos) == 3
    for video in videos:
        path = tmp_path / f"window.{kind}"
        path.write_bytes(base64.b64decode(video))
        info = open_source(path).info
        assert info.frames == CONTEXT + HORIZON
        assert info.width > 4 * 160


def test_its_videos_are_the_windows_beside_their_truth(page, report):
    for name, number in typical_windows(report).items():
        start = report.windows[number].start
        assert (
            f"<h3>{name.capitalize()} window by skill over {report.comparison.reference}</h3>"
            in page
        )
        model, other = (
            report.window_mse[kind][number].mean() for kind in (MODEL, report.comparison.reference)
        )
        assert re.search(
            rf"grey.npy, frames from {start}: MSE x 1000 [^<]*, skill {1 - model / other:.1%}<",
            page,
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (3.61, "3.610"),
        (0.5, "0.5000"),
        (123456.78, "123456.8"),
        (0.0, "0.000000"),
        (-12, "-12.00"),
    ],
)
def test_figures_line_up_and_have_no_exponent(value, text):
    assert format_score(value) == text


def with_errors(report, model, reference):
    shape = (-1, 1)
    window_mse = {
        MODEL: np.array(model).reshape(shape),
        report.comparison.reference: np.array(reference).reshape(shape),
    }
    return dataclasses.replace(report, window_mse=window_mse)


def test_windows_are_chosen_by_their_skill(report):
    found = typical_windows(with_errors(report, [3.0, 1, 2, 9, 4], [1.0, 4, 2, 6, 8]))
    assert found == {"best": 1, "median": 2, "worst": 0}
    assert typical_windows(with_errors(report, [3.0], [1.0])) == {"best": 0}
    assert typical_windows(with_errors(report, [3.0, 1.0], [1.0, 1.0])) == {"best": 1, "worst": 0}
    assert typical_windows(with_errors(report, [1.0, 0, 2], [0.0, 0, 0]))["worst"] == 2


def test_names_of_files_are_shown_not_obeyed(run, clips, grey_run, tmp_path):
    clip = tmp_path / "<b>&clip.npy"
    clip.write_bytes((clips / "grey.npy").read_bytes())
    target = tmp_path / "report.html"
    flags = ("--report", target, "--include-training", "--windows", 1)
    code, out, _ = run("evaluate", grey_run, clip, *flags)
    assert (code, out) == (0, f"{target}\n")
    page = target.read_text(encoding="utf-8")
    assert "<b>&clip" not in page
    assert "<title>framecast: &lt;b&gt;&amp;clip.npy</title>" in page
    code, out, err = run("evaluate", grey_run, clip, *flags)
    assert (code, out) == (5, "")
    assert err == f"error: {target} exists already; choose another name or pass --overwrite\n"
    assert page == target.read_text(encoding="utf-8")
