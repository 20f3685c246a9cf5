"""What `gateway whatif` is told by name or by file: the policies, and the fleet."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.config import Settings
from gateway.document import nearest, read
from gateway.errors import ConfigError
from gateway.policy.load import Policies
from gateway.policy.schema import read_policy
from gateway.sim.fitted import ENOUGH, fit
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


def chosen_fleet(name: str | None, settings: Settings, warn: Callable[[str], None]) -> tuple[SimHost, ...]:
    """The hosts of a named fleet or fleet file; None: fitted from this gateway's ledger. Raises ConfigError.

    `warn` is told when the ledger knows too little for a comparison.
    """
    if name is not None:
        return read_fleet(name)
    endpoints = {one.id: one for model in settings.models for one in model.endpoints}
    folder = StateFolder(settings.state)
    hosts, left_out = fit(read_ledger(folder.ledger), endpoints)
    if not hosts:
        raise ConfigError(
            f"no endpoint has {ENOUGH} streamed answers in {folder.path} yet; give `--state` or `--fleet real`"
        )
    if left_out or len(hosts) == 1:
        warn(_too_little(len(hosts), left_out))
    return hosts


def _too_little(known: int, left_out: Sequence[str]) -> str:
    of_all = f"{known} of {known + len(left_out)} endpoints in the ledger"
    said = [f"{of_all} {'has' if known == 1 else 'have'} {ENOUGH} streamed answers"]
    if left_out:
        said.append(f"left out: {', '.join(left_out)}")
    if known == 1:
        said.append("with one host every policy does the same")
    return "; ".join([*said, "for more hosts use `--fleet real`"])
