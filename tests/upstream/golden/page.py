"""The tables of hosts in docs/hosts.md."""

from pathlib import Path

from tests.upstream.golden.requests import relay_table, support_table

PAGE = Path(__file__).parents[3] / "docs" / "hosts.md"
_TABLES = {
    "<!-- relay or rewrite: generated -->\n": relay_table,
    "<!-- what each host takes: generated -->\n": support_table,
}
_END = "<!-- end -->\n"


def with_tables(page: str) -> str:
    """The page with the tables as the code would have them."""
    for start, table in _TABLES.items():
        before, rest = page.split(start)
        page = before + start + table() + _END + rest.split(_END, 1)[1]
    return page
