"""Writes the golden plans anew: `python -m tests.policy.golden`."""

from tests.policy.golden import plans

for old in plans.FOLDER.glob("*.txt"):
    old.unlink()
for policy in plans.POLICIES.values():
    plans.file(policy).write_text(plans.page(policy), encoding="utf-8")
