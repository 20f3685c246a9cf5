"""The profile of a model as HTML, and its published scores.

HTML in the Markdown is shown as text, pictures are left out, and a link that would run a script is none: so that a page
made from any file loads nothing and runs nothing.
"""

from collections.abc import Iterable

from gateway.config.score_table import ScoreTable
from gateway.page.page_types import AboutModel, Answer, PublishedScore
from gateway.types import ModelProfile


def about_model(profile: ModelProfile) -> AboutModel:
    """Takes some tens of milliseconds the first time."""
    from markdown_it import MarkdownIt  # most workers never show the page, and the import is slow

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")

    def html(text: str) -> str | None:
        written: str = markdown.render(text)
        return written.strip() or None

    questions = [Answer(one.text, html(one.answer) or "") for one in profile.questions]
    return AboutModel(html(profile.profile), html(profile.strengths), html(profile.limits), questions)


def published_scores(model: str, tables: Iterable[ScoreTable]) -> list[PublishedScore]:
    return [
        PublishedScore(
            name=one.name,
            score=one.scores[model],
            unit=one.unit,
            source=one.source,
            url=one.url,
            date=one.date,
            percentile=one.percentile(model),
            of=len(one.scores),
        )
        for one in tables
        if model in one.scores
    ]
