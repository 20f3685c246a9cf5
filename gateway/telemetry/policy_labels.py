"""The values of the label `policy`: names of policies, bounded in number."""

MOST_POLICIES = 32  # of one worker, since its start: reloads can bring new names for ever
OTHER = "other"


class PolicyLabels:
    """The first `MOST_POLICIES` names that are used keep their own series; all later names share `other`."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def __repr__(self) -> str:
        return f"<PolicyLabels: {len(self._named)} of {MOST_POLICIES}>"

    def of(self, policy: str) -> str:
        """The label for a policy's rows."""
        if policy not in self._named:
            if len(self._named) >= MOST_POLICIES:
                return OTHER
            self._named.add(policy)
        return policy
