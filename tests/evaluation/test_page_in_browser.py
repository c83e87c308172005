"""The page in headless Chromium, where Playwright and Chromium are installed."""

import re
import shutil

import numpy as np
import pytest

from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.html_report import render
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import open_task
from framecast.video.frame_style import FrameStyle
from tests.support.media import smooth_clip
from tests.support.tiny_runs import CONTEXT, HORIZON

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
WIDTHS = (400, 1280)


@pytest.fixture(scope="module")
def page_file(clips, grey_run, tmp_path_factory):
    request = EvaluationRequest(include_training=True, protocol="nowcast", thresholds=("0.4",))
    task = open_task(grey_run, [clips / "grey.npy"], request, device="cpu")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(evaluate_task(task), task, FrameStyle("viridis"), 5), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")])
def page(request, browser, page_file):
    """The page at one width in one colour scheme; nothing it says to the console is an error."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    opened, said, asked = context.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda call: asked.append(call.url))
    opened.goto(page_file.as_uri())
    yield opened
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def shifts(page):
    """How far each visible panel's picture is moved up, as a share of its height."""
    texts = page.eval_on_selector_all(
        ".window:not(.hidden) .frame img", "images => images.map(image => image.style.transform)"
    )
    return [float(re.search(r"-?([\d.]+)%", text)[1]) / 100 for text in texts]


def test_nothing_overflows_and_the_scheme_is_followed(page):
    wide, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(21, 23, 28)"
        if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        else "rgb(255, 255, 255)"
    )
    heights = page.eval_on_selector_all(
        ".window:not(.hidden) .frame", "frames => frames.map(f => f.getBoundingClientRect().height)"
    )
    assert len(heights) == 5
    assert min(heights) > 60


def test_tall_frames_and_their_slider_fit_into_one_window(browser, grey_run, tmp_path):
    np.save(tmp_path / "tall.npy", smooth_clip(14, 90, 16)[..., 1])
    request = EvaluationRequest(include_training=True)
    task = open_task(grey_run, [tmp_path / "tall.npy"], request, device="cpu")
    path = tmp_path / "report.html"
    path.write_text(render(evaluate_task(task), task, FrameStyle(), None), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    frame, player = (
        page.locator(f"{place} >> visible=true").first.bounding_box()
        for place in (".frame", "#play")
    )
    page.close()
    assert player["y"] + player["height"] - frame["y"] < 900
    assert frame["height"] / frame["width"] == pytest.approx(90 / 16, rel=0.02)


def test_one_slider_moves_all_panels(page):
    slider = page.locator("#lead")
    slider.focus()
    page.keyboard.press("Home")
    frames = CONTEXT + HORIZON
    assert shifts(page) == pytest.approx([0] * 5)
    assert page.locator("#now").text_content() == "seen, -10 min"
    for _ in range(CONTEXT):
        page.keyboard.press("ArrowRight")
    # The input stays at its last frame, the others go on.
    expected = [(CONTEXT - 1) / CONTEXT, *[CONTEXT / frames] * 4]
    assert shifts(page) == pytest.approx(expected, abs=1e-4)
    assert page.locator("#now").text_content() == "+5 min"
    page.keyboard.press("End")
    assert shifts(page)[1:] == pytest.approx([(frames - 1) / frames] * 4, abs=1e-4)
    page.locator("#on").click()
    assert shifts(page) == pytest.approx([0] * 5)


def test_play_moves_slowly_where_motion_is_unwanted_and_stops(page):
    assert page.locator("#speed").input_value() == "1200"
    page.locator("#speed").select_option("150")
    page.locator("#play").click()
    assert page.locator("#play").text_content() == "Pause"
    page.wait_for_function(
        "before => document.querySelectorAll('.frame img')[1].style.transform !== before",
        arg=page.locator(".frame img").nth(1).evaluate("image => image.style.transform"),
    )
    page.locator("#play").click()
    stopped = shifts(page)
    page.wait_for_timeout(400)  # more than two frames at this speed
    assert shifts(page) == stopped
    assert page.locator("#play").get_attribute("aria-pressed") == "false"


def test_windows_and_metrics_are_chosen(page):
    for number in range(page.locator(".choose").count()):
        page.locator(".choose").nth(number).click()
        visible = page.locator(".window:visible")
        assert visible.count() == 1
        assert visible.get_attribute("id") == f"window-{number}"
    options = page.locator("#metric option").all_text_contents()
    assert "CSI 0.4" in options
    page.locator("#metric").select_option(label="CSI 0.4")
    shown = page.locator("figure.metric:visible figcaption").all_text_contents()
    assert len(shown) == 1
    assert shown[0].startswith("CSI 0.4: hits / (hits + misses + false alarms)")
    assert page.locator("details.metric:visible summary").all_text_contents() == [
        "CSI 0.4 as a table"
    ]


def test_the_frame_that_is_shown_is_the_one_of_the_lead_time(page):
    """The middle of a panel on the screen has the colour of that place in its sprite."""
    page.locator("#lead").focus()
    page.keyboard.press("End")
    differences = page.eval_on_selector_all(
        ".window:not(.hidden) .frame",
        """frames => frames.map(frame => {
          const image = frame.firstElementChild, box = frame.getBoundingClientRect();
          const inner = image.getBoundingClientRect();
          return (box.top - inner.top) / box.height - (image.dataset.frames - 1);
        })""",
    )
    assert np.abs(differences).max() < 0.02


def test_paper_has_all_windows_and_no_controls(page):
    page.emulate_media(media="print")
    assert page.locator(".window:visible").count() == page.locator(".window").count() == 3
    assert page.locator("#play:visible").count() == 0
