"""Markdown of operators as HTML that loads nothing and runs nothing; scores with their place among other models."""

from gateway.config.score_table import ScoreTable
from gateway.page.about_view import about_model, published_scores
from gateway.types import ModelProfile, Question


def test_markdown_becomes_html() -> None:
    shown = about_model(ModelProfile("A *model*.", "- tools\n- code", "", (Question("Why?", "So."),)))
    assert shown.profile == "<p>A <em>model</em>.</p>"
    assert shown.shines == "<ul>\n<li>tools</li>\n<li>code</li>\n</ul>"
    assert shown.limits is None
    assert [(one.q, one.a) for one in shown.questions] == [("Why?", "<p>So.</p>")]


def test_html_scripts_and_pictures_stay_text() -> None:
    bombs = "<script>alert(1)</script>\n\n[a](javascript:alert(1)) ![b](https://elsewhere.example/b.png) <b>c</b>"
    html = about_model(ModelProfile(bombs)).profile or ""
    for tag in ("<script", "<img", "<b>", 'href="javascript'):
        assert tag not in html


def test_scores_of_one_model() -> None:
    table = ScoreTable("AIME", "%", "a paper", "https://paper.example", "2025-12-02", {"a": 90.0, "b": 80.0, "c": 95.0})
    (score,) = published_scores("a", [table])
    assert (score.name, score.score, score.percentile, score.of) == ("AIME", 90.0, 0.5, 3)
    assert published_scores("d", [table]) == []
