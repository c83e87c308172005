"""Evaluations as tables: they fit a terminal, and numbers that say nothing are not printed."""

import re
from types import SimpleNamespace

import pytest

from framecast.cli import score_tables
from framecast.evaluation.skill import Skill

FORECASTERS = ("framecast", "last frame", "context mean", "optical flow", "linear trend")


def report(skills, found=157):
    rows = [(lead, [1234.56, 12.34567, 0.001234, 999.9999, None]) for lead in ("1", "12", "mean")]
    return SimpleNamespace(
        titles={"mse": "MSE x 1000", "csi": "CSI at 20 dBZ"},
        scores=dict.fromkeys(FORECASTERS),
        rows=lambda metric: iter(rows),
        windows=[None] * 8,
        windows_found=found,
        context_length=6,
        horizon=12,
        comparison=SimpleNamespace(skills=skills[:-1], overall=skills[-1]),
        protocol="pixel",
        protocol_definition="means over pixels",
        definitions={},
        notes=["scored at a smaller size"],
        summary="no better",
    )


def test_tables_of_five_forecasters_with_intervals_fit_80_columns(capfd, monkeypatch):
    monkeypatch.setattr(score_tables.messages, "width", 80)
    skills = [Skill(0.0423, 0.01, 0.07), Skill(-0.423, -15.3, 0.07), Skill(-15.34, -20, -13)]
    score_tables.show_evaluation(report(skills), as_json=False)
    lines = capfd.readouterr().err.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert lines[0] == (
        "MSE x 1000, 8 of 157 windows of 6 + 12 frames; skill against the best baseline"
    )
    cells = [line.split(maxsplit=6) for line in lines]
    assert ["1", "1234.6", "12.35", "0.001234", "1000.0", "-", "4.2 % 1 to 7 %"] in [
        [*row[:6], " ".join(row[6].split())] for row in cells if len(row) == 7
    ]
    text = " ".join(" ".join(lines).split())
    assert "-42.3 % < -100 to 7 %" in text
    assert "< -100 % < -100 to < -100 %" in text


@pytest.mark.parametrize("width", [20, 50, 70])
def test_no_number_is_cut_short_where_the_terminal_is_narrow(capfd, monkeypatch, width):
    monkeypatch.setattr(score_tables.messages, "width", width)
    monkeypatch.setattr(score_tables.messages, "soft_wrap", False)  # as at a terminal
    skills = [Skill(0.0423, 0.01, 0.07), Skill(-0.423, -15.3, 0.07), Skill(-15.34, -20, -13)]
    score_tables.show_evaluation(report(skills), as_json=False)
    text = capfd.readouterr().err
    assert "…" not in text
    for number in ("1234.6", "12.35", "0.001234", "1000.0", "-42.3", "framecast"):
        assert re.search(rf"(?<!\S){number}(?!\S)", text), number


@pytest.mark.parametrize(("found", "shown"), [(8, "8 windows"), (9, "8 of 9 windows")])
def test_the_headline_says_how_many_of_the_windows_are_scored(found, shown):
    assert f", {shown} of 6 + 12 frames;" in score_tables.headline(report([Skill(0.1)], found))


def test_without_intervals_there_is_no_column_for_them(capfd):
    score_tables.show_evaluation(report([Skill(0.1)] * 3), as_json=False)
    assert "interval" not in capfd.readouterr().err
