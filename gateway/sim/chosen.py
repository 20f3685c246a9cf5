"""What `gateway whatif` is told by name or by file: the policies, and the fleet."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gateway.config import Settings
from gateway.document import nearest, read
from gateway.errors import ConfigError
from gateway.policy.load import Policies
from gateway.policy.schema import read_policy
from gateway.sim.fitted import fit
from gateway.sim.fleet import SimHost
from gateway.sim.fleetfile import read_fleet
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import read as read_ledger
from gateway.types import Policy


def chosen_policies(given: Sequence[str], settings: Settings) -> list[Policy]:
    """Policies by name or by file; the default one where none is given. Raises ConfigError.

    Namesakes, such as two versions of one policy, are told apart by their files.
    """
    in_force = Policies(settings.policies).current
    chosen: list[Policy] = []
    for one in given or [settings.default_policy]:
        if one.endswith(".yaml"):
            path = Path(one)
            policy = read_policy(read(path), path.stem)
        elif one in in_force:
            policy = in_force[one]
        else:
            raise ConfigError(f"--policy {one}: no policy has that name; {nearest(one, in_force)} or give a YAML file")
        named = any(policy.name == other.name for other in chosen)
        chosen.append(replace(policy, name=one) if named else policy)
    return chosen


def chosen_fleet(name: str | None, settings: Settings) -> tuple[SimHost, ...]:
    """The hosts of a named fleet or fleet file; None: fitted from this gateway's ledger. Raises ConfigError."""
    if name is not None:
        return read_fleet(name)
    endpoints = {one.id: one for model in settings.models for one in model.endpoints}
    return fit(read_ledger(StateFolder(settings.state).ledger), endpoints)
