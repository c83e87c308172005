"""The HTML page: one file, everything in it, the right windows to step through."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from framecast.evaluation import html_report
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.html_report import render, typical_windows
from framecast.evaluation.report import MODEL, format_score
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import open_task
from framecast.prediction.baselines import BASELINES
from framecast.video.frame_style import FrameStyle
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

    VOID = ("meta", "link", "img", "br", "source", "input")

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        names = ("src", "href", "xlink:href", "data", "poster")
        self.loads += [value for name, value in attrs if name in names]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_startendtag(self, tag, attrs):
        names = ("src", "href", "xlink:href")
        self.loads += [value for name, value in attrs if name in names]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def outline(page):
    outline = Outline()
    outline.feed(page)
    return outline


def test_the_page_is_whole_and_loads_nothing(page, outline):
    assert outline.open == []
    assert len(outline.loads) >= 15
    assert all(load.startswith(("data:", "#")) for load in outline.loads)
    assert not re.search(r"url\(\s*['\"]?(?!#)", page)
    assert "@import" not in page
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert len(page) < 3e6


def test_it_says_all_that_the_report_knows(page, report, task):
    plain = (
        page.replace("\N{NON-BREAKING HYPHEN}", "-")
        .replace("\N{NO-BREAK SPACE}", " ")
        .replace("&#39;", "'")
    )
    assert report.summary[1:] in plain
    assert not re.search(r"\d-\d", re.search(r'<p class="summary">(.*?)</p>', page)[1])
    assert "These windows hold frames the model was trained on." in page
    for text in (*report.definitions.values(), *report.titles.values(), *report.notes):
        assert text.replace(">", "&gt;") in plain
    for name in (MODEL, *BASELINES):
        assert f'<th scope="col">{name}</th>' in page
    assert "context_length: 3" in page
    assert f"<td>{format_score(1000 * report.scores[MODEL]['mse'][1])}</td>" in page
    assert page.count("<svg") == len(report.titles) + 1 + 1  # the skill, and the training
    assert "#010203" not in page
    assert "every possible start" not in page


def test_its_panels_are_the_frames_of_the_windows(outline, report, task):
    windows = typical_windows(report)
    assert len(outline.images) == 5 * len(windows) == 15
    source = task.sources[0]
    for place, (name, number) in enumerate(windows.items()):
        images = outline.images[5 * place : 5 * place + 5]
        titles = ["input", "model", report.comparison.reference, "truth", "error of the model"]
        assert [image["alt"] for image in images] == [
            f"{title} of the {name} window" for title in titles
        ]
        start = report.windows[number].start
        frames = list(source.read(start, start + CONTEXT + HORIZON))
        for image, shown in ((images[0], frames[:CONTEXT]), (images[3], frames)):
            assert image["data-frames"] == str(len(shown))
            data = base64.b64decode(image["src"].split(",")[1])
            found = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            np.testing.assert_array_equal(found, np.concatenate(shown).repeat(3, axis=2))


def test_windows_say_their_skill_and_errors(page, report):
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page)[1])
    assert data["first"] == 1 - CONTEXT
    assert data["labels"] == ["-2", "-1", "0", "+1", "+2", "+3", "+4"]
    for place, (name, number) in enumerate(typical_windows(report).items()):
        start, reference = report.windows[number].start, report.comparison.reference
        model, other = (report.window_mse[kind][number].mean() for kind in (MODEL, reference))
        assert (
            f"{name.capitalize()} window by skill over {reference}: {1 - model / other:.1%}; "
            f"grey.npy from frame {start}."
        ) in page
        assert data["windows"][place][MODEL] == [
            format_score(1000 * error) for error in report.window_mse[MODEL][number]
        ]


def test_large_frames_are_shrunk_until_the_page_is_small(monkeypatch, report, task):
    monkeypatch.setattr(html_report, "SPRITE_BYTES", 9_000)
    monkeypatch.setattr(html_report, "SIDES", (320, 12, 6))
    outline = Outline()
    outline.feed(render(report, task))
    assert sum(len(image["src"]) for image in outline.images) < 20_000


def test_frames_are_painted_and_lead_times_are_minutes_as_asked(report, task):
    page = render(report, task, FrameStyle("viridis"), 5)
    assert '"+20 min"' in page
    outline = Outline()
    outline.feed(page)
    data = base64.b64decode(outline.images[0]["src"].split(",")[1])
    found = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > 2
    assert (found.max(axis=2) != found.min(axis=2)).any()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (3.61, "3.610"),
        (0.5, "0.5000"),
        (123456.78, "123456.8"),
        (999.94, "999.9"),
        (-999.96, "-1000.0"),
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


def test_the_title_names_three_of_many_clips(run, clips, grey_run, tmp_path):
    many = [tmp_path / f"{number}.npy" for number in range(5)]
    for number, clip in enumerate(many):
        np.save(clip, np.roll(np.load(clips / "grey.npy"), number, axis=1))
    target = tmp_path / "report.html"
    code, _, err = run("evaluate", grey_run, *many, "--report", target, "--windows", 5)
    assert code == 0, err
    page = target.read_text(encoding="utf-8")
    assert "<title>framecast: 0.npy, 1.npy, 2.npy and 2 more</title>" in page
    for clip in many:
        assert f"<td>{clip.name}</td>" in page


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


@pytest.mark.parametrize(
    "table",
    [
        b"\xff\xfe",
        b"epoch,note\n0,x\n",
        b"epoch,validation_mse,persistence_mse,flow_mse,train_loss\ninf,x,1,1,\n",
        b"epoch,validation_mse,persistence_mse,flow_mse,train_loss\n0,0.5\n",
    ],
)
def test_a_changed_table_costs_the_curves_and_not_the_report(tmp_path, table):
    (tmp_path / "metrics.csv").write_bytes(table)
    found = html_report._training(SimpleNamespace(model=tmp_path))
    said = "metrics.csv is not as framecast wrote it, so that its curves are not shown"
    assert found == {"missing": f"{tmp_path}/{said}"}


def test_curves_are_those_of_the_run(tmp_path):
    rows = "0,0.5,0.6,0.55,\n1,0.4,0.6,0.55,0.3\n"
    table = f"epoch,validation_mse,persistence_mse,flow_mse,train_loss\n{rows}"
    (tmp_path / "metrics.csv").write_text(table)
    assert "kept: epoch 1" in html_report._training(SimpleNamespace(model=tmp_path))["curves"]
    (tmp_path / "metrics.csv").write_text(table.partition("\n")[0])
    assert html_report._training(SimpleNamespace(model=tmp_path)) is None
