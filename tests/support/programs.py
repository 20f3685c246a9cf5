"""Programs of the system that some tests need. Without one its tests are skipped; in CI such a skip is a failure.

This is a pytest plugin, too: `GATEWAY_CI=1` says that every program is to be there.
"""

import os
import shutil
from collections.abc import Iterator

import pytest

SIGN = "needs "  # how the reason of such a skip begins


def needs(program: str) -> str:
    """The program's path; skips the test where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{SIGN}{program}, which is not installed")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if os.environ.get("GATEWAY_CI") == "1" and report.skipped and _reason(report).startswith(SIGN):
        report.outcome, report.longrepr = "failed", f"in CI nothing may be missing: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
