"""Writes the golden files and the tables in docs/hosts.md anew: `python -m tests.upstream.golden`."""

from tests.upstream.golden import answers, requests
from tests.upstream.golden.page import PAGE, with_tables

for old in (
    *requests.FOLDER.glob("*.json"),
    *answers.FOLDER.glob("*.told.json"),
    *answers.FOLDER.glob("*.openrouter.json"),
):
    old.unlink()
for endpoint in requests.hosts():
    requests.file(endpoint).write_text(requests.sent(endpoint), encoding="utf-8")
for case in answers.cases():
    for surface in answers.ENDINGS:
        answers.file(case, surface).write_text(answers.told(case, surface), encoding="utf-8")
PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
