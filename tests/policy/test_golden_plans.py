"""What each shipped policy decides in ten situations is what its golden file says.

A difference that is meant: `python -m tests.policy.golden`, and read the diff.
"""

import pytest

from tests.policy.golden import plans

ANEW = "decisions have changed; where that is meant, run `python -m tests.policy.golden` and read the diff"


@pytest.mark.parametrize("name", sorted(plans.POLICIES))
def test_a_policy_decides_as_its_file_says(name: str) -> None:
    policy = plans.POLICIES[name]
    assert plans.page(policy) == plans.file(policy).read_text(encoding="utf-8"), ANEW


def test_there_is_no_file_too_many() -> None:
    assert set(plans.FOLDER.iterdir()) == {plans.file(policy) for policy in plans.POLICIES.values()}
