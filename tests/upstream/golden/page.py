"""The table of hosts in docs/hosts.md."""

from pathlib import Path

from tests.upstream.golden.requests import relay_table

PAGE = Path(__file__).parents[3] / "docs" / "hosts.md"
_START, _END = "<!-- relay or rewrite: generated -->\n", "<!-- end -->\n"


def with_table(page: str) -> str:
    """The page with the table as the code would have it."""
    before, rest = page.split(_START)
    return before + _START + relay_table() + _END + rest.split(_END, 1)[1]
