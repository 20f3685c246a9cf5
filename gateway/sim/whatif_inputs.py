"""The inputs of `gateway whatif` by name or by file: policies, other routers, a model, requests and a fleet.

The default is the setting of the figures in docs/routing.md: the default policy, the cheapest and the fastest one,
three other routers, and a sample of real traffic; on hosts fitted from this gateway's ledger, or else on the fleet
`real`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.config import Settings
from gateway.document import nearest, read
from gateway.errors import ConfigError
from gateway.policy.policies import Policies
from gateway.policy.policy_document import read_policy
from gateway.sim.baselines import RULES
from gateway.sim.fitted import ENOUGH, fit
from gateway.sim.fleetfile import read_fleet
from gateway.sim.generated import agent_sessions, short_prompts
from gateway.sim.sim_host import MODEL, SimHost
from gateway.sim.workload import SAMPLE, TraceRow, read_trace
from gateway.state.folder import StateFolder
from gateway.telemetry.ledger import read as read_ledger
from gateway.types import Policy

DEFAULT_POLICIES = ("balanced", "floor", "nitro")  # replayed with the default policy where none is named
BASELINES = ("openrouter", "sticky-cost", "litellm-shuffle")
FLEET = "real"
NAMED = 3  # endpoints that a message names
LEAST_HOSTS = 2  # least number of hosts: with fewer, all policies behave alike
GENERATED: Mapping[str, Callable[[], list[TraceRow]]] = {
    "agent-sessions": agent_sessions,
    "short-prompts": short_prompts,
}


def chosen_policies(given: Sequence[str], settings: Settings) -> list[Policy]:
    """Policies by name or by file; without any, the default one and those in DEFAULT_POLICIES. Raises ConfigError.

    Policies with equal names, such as two versions of one, are distinguished by their file names.
    """
    in_force = Policies(settings.policies).current
    selected: list[Policy] = []
    for one in given or dict.fromkeys((settings.default_policy, *DEFAULT_POLICIES)):
        if one.endswith(".yaml"):
            path = Path(one)
            policy = read_policy(read(path), path.stem)
        elif one in in_force:
            policy = in_force[one]
        else:
            raise ConfigError(f"--policy {one}: unknown policy; {nearest(one, in_force)} or give a YAML file")
        named = any(policy.name == other.name for other in selected)
        selected.append(replace(policy, name=one) if named else policy)
    return selected


def chosen_baselines(given: Sequence[str]) -> Sequence[str]:
    """Other routers by name. Raises ConfigError."""
    for one in given:
        if one not in RULES:
            raise ConfigError(f"--baseline {one}: unknown router; {nearest(one, RULES)}")
    return given or BASELINES


def chosen_model(given: str | None, settings: Settings) -> str | None:
    """The id of the model with this name or alias; None where none is given. Raises ConfigError."""
    if given is None:
        return None
    ids = {name: model.id for model in settings.models for name in (model.id, *model.aliases)}
    if given not in ids:
        raise ConfigError(f"--model {given}: unknown model; {nearest(given, ids)}")
    return ids[given]


def chosen_rows(trace: str | None, limit: int, model: str | None) -> tuple[str, list[TraceRow]]:
    """The first requests of a recorded trace or a generated workload, only of `model` where the trace has models; and a
    description of them.

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
    """The hosts of a named fleet or fleet file, and its description. Raises ConfigError.

    None: hosts fitted from this gateway's ledger, of `model` (None: of the only one in it). If the ledger has too few
    for a comparison, those of `real` are used, unless `own` is set or `model` is another one. `warn` is called with
    what the ledger lacks.
    """
    if name is not None:
        return name, read_fleet(name)
    folder = StateFolder(settings.state)
    served = _served(settings, folder, model)
    endpoints = {one.id: one for other in settings.models if other.id in served for one in other.endpoints}
    hosts, left_out = fit((row for row in read_ledger(folder.ledger) if row.model in served), endpoints)
    replaced = len(hosts) < LEAST_HOSTS and not own and model in (None, MODEL)
    if not hosts and not replaced:
        raise ConfigError(_nothing_measured(folder, served, endpoints))
    if left_out or len(hosts) == 1:
        warn(_too_little(len(hosts), left_out, replaced))
    return (FLEET, read_fleet(FLEET)) if replaced else ("fitted from this gateway's ledger", hosts)


def _nothing_measured(folder: StateFolder, served: set[str], known: Mapping[str, object]) -> str:
    """Why the ledger has no endpoint that can be simulated, and what to do about it."""
    measured = {row.endpoint for row in read_ledger(folder.ledger) if row.endpoint and row.model in served}
    unknown = sorted(measured - known.keys())
    if not measured:
        return f"{folder.path}: has no answers yet; name another folder with `--state`, or use `--fleet {FLEET}`"
    if len(unknown) == len(measured):
        names = f"{', '.join(unknown[:NAMED])}{' and others' if len(unknown) > NAMED else ''}"
        return (
            f"{folder.path}: has answers of {names}, which are not in the configuration; "
            f"give that gateway's gateway.yaml with `--config`, or use `--fleet {FLEET}`"
        )
    return f"{folder.path}: no endpoint has {ENOUGH} streamed answers yet; use `--fleet {FLEET}`"


def _served(settings: Settings, folder: StateFolder, model: str | None) -> set[str]:
    """The models whose ledger rows are used: one model, because hosts of two models do not compete."""
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
    parts = [f"{of_all} {'has' if known == 1 else 'have'} {ENOUGH} streamed answers"]
    if replaced:
        return "; ".join([*parts, f"using `--fleet {FLEET}` instead"])
    if left_out:
        parts.append(f"left out: {', '.join(left_out)}")
    if known == 1:
        parts.append("with one host all policies behave alike")
    return "; ".join([*parts, f"for more hosts use `--fleet {FLEET}`"])
