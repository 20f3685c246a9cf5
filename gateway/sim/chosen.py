"""What `gateway whatif` replays: policies, other routers, a model, requests and a fleet, by name or by file.

Where nothing is named, it is the setting whose figures are in docs/routing.md: the default policy, the cheapest and the
fastest one, three other routers, and a sample of real traffic; on hosts as this gateway's ledger has them, or else on
the fleet `real`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.config import Settings
from gateway.document import nearest, read
from gateway.errors import ConfigError
from gateway.policy.policies import Policies
from gateway.policy.schema import read_policy
from gateway.sim.baselines import RULES
from gateway.sim.fitted import ENOUGH, fit
from gateway.sim.fleetfile import read_fleet
from gateway.sim.generated import agent_sessions, short_prompts
from gateway.sim.sim_host import MODEL, SimHost
from gateway.sim.workload import SAMPLE, TraceRow, read_trace
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import read as read_ledger
from gateway.types import Policy

BESIDE = ("balanced", "floor", "nitro")  # policies that are replayed with the default one where none is named
BASELINES = ("openrouter", "sticky-cost", "litellm-shuffle")
FLEET = "real"
RIVALS = 2  # hosts without which all policies do the same
GENERATED: Mapping[str, Callable[[], list[TraceRow]]] = {
    "agent-sessions": agent_sessions,
    "short-prompts": short_prompts,
}


def chosen_policies(given: Sequence[str], settings: Settings) -> list[Policy]:
    """Policies by name or by file; the default one and those beside it where none is given. Raises ConfigError.

    Namesakes, such as two versions of one policy, are told apart by their files.
    """
    in_force = Policies(settings.policies).current
    chosen: list[Policy] = []
    for one in given or dict.fromkeys((settings.default_policy, *BESIDE)):
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


def chosen_baselines(given: Sequence[str]) -> Sequence[str]:
    """Other routers by name. Raises ConfigError."""
    for one in given:
        if one not in RULES:
            raise ConfigError(f"--baseline {one}: no other router has that name; {nearest(one, RULES)}")
    return given or BASELINES


def chosen_model(given: str | None, settings: Settings) -> str | None:
    """The id of the model that goes by this name; None where none is given. Raises ConfigError."""
    if given is None:
        return None
    ids = {name: model.id for model in settings.models for name in (model.id, *model.aliases)}
    if given not in ids:
        raise ConfigError(f"--model {given}: no model has that name; {nearest(given, ids)}")
    return ids[given]


def chosen_rows(trace: str | None, limit: int, model: str | None) -> tuple[str, list[TraceRow]]:
    """The first requests of a recorded trace or a drawn workload, of one model where they name it; and what they are.

    None: a sample of real traffic. Raises ConfigError.
    """
    if trace is not None and trace in GENERATED:
        return trace, GENERATED[trace]()[:limit]
    rows = read_trace(Path(trace) if trace else SAMPLE, limit, model)
    _refuse_several({row.model for row in rows if row.model}, f"{trace}: has requests of")
    if not rows:
        of_model = f" of {model}" if model else ""
        raise ConfigError(f"{trace}: has no requests{of_model}; record some with `gateway serve --record FILE`")
    return trace or "a sample of real traffic", rows


def chosen_fleet(
    name: str | None, settings: Settings, warn: Callable[[str], None], model: str | None = None, *, own: bool = False
) -> tuple[str, tuple[SimHost, ...]]:
    """The hosts of a named fleet or fleet file, and which they are. Raises ConfigError.

    None: fitted from this gateway's ledger, as far as it knows hosts of `model` (None: of the only one in it). Where it
    knows too few for a comparison, they are those of `real`, unless its `own` are wanted or the model is another one.
    `warn` is told what the ledger lacks.
    """
    if name is not None:
        return name, read_fleet(name)
    folder = StateFolder(settings.state)
    served = _served(settings, folder, model)
    endpoints = {one.id: one for other in settings.models if other.id in served for one in other.endpoints}
    hosts, left_out = fit((row for row in read_ledger(folder.ledger) if row.model in served), endpoints)
    replaced = len(hosts) < RIVALS and not own and model in (None, MODEL)
    if not hosts and not replaced:
        raise ConfigError(
            f"no endpoint has {ENOUGH} streamed answers in {folder.path} yet; give `--state` or `--fleet real`"
        )
    if left_out or len(hosts) == 1:
        warn(_too_little(len(hosts), left_out, replaced))
    return (FLEET, read_fleet(FLEET)) if replaced else ("as this gateway's ledger has it", hosts)


def _served(settings: Settings, folder: StateFolder, model: str | None) -> set[str]:
    """Whose rows of the ledger are looked at: those of one model, because hosts of two models are no rivals."""
    known = {one.id for one in settings.models}
    if model is None and len(known) > 1:
        known &= {row.model for row in read_ledger(folder.ledger) if row.endpoint}
        _refuse_several(known, f"the ledger in {folder.path} has answers of")
    return known if model is None else {model}


def _refuse_several(models: set[str], what: str) -> None:
    if len(models) > 1:
        raise ConfigError(f"{what} {' and '.join(sorted(models))}; name one with `--model`")


def _too_little(known: int, left_out: Sequence[str], replaced: bool) -> str:
    of_all = f"{known} of {known + len(left_out)} endpoints in the ledger"
    said = [f"{of_all} {'has' if known == 1 else 'have'} {ENOUGH} streamed answers"]
    if replaced:
        return "; ".join([*said, f"hosts are those of `--fleet {FLEET}`"])
    if left_out:
        said.append(f"left out: {', '.join(left_out)}")
    if known == 1:
        said.append("with one host every policy does the same")
    return "; ".join([*said, f"for more hosts use `--fleet {FLEET}`"])
