"""What the gateway says, held against published documents and against the types of the installed SDKs.

    python -m tests.clients.specs --openrouter openrouter.yaml --openai openai.yaml [--no-sdks]

Documents are OpenAPI, in JSON or YAML, fetched by whoever runs this; without one, the types of the SDKs alone are held.
Prints each kind of deviation once, and exits with 1 where there is any.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.clients.said import Answer, all_answers
from tests.clients.sdks import command_of

URN = "urn:document"
SDKS = {
    "openai-python": "types_openai.py",
    "anthropic": "types_anthropic.py",
    "openrouter": "types_openrouter.py",
    "openrouter-node": "types_openrouter_node.mjs",
}
ACCEPTED = (  # where, what, and why it is no deviation of ours; all are beginnings
    ("POST /v1/chat/completions event", "system_fingerprint: None", "a host's event, relayed as it came"),
    ("POST /v1/chat/completions event", "choices.[].logprobs: 'refusal'", "a host's event, relayed as it came"),
    ("POST /v1/chat/completions event (broken)", "choices.[].finish_reason: 'error'", "SDKs raise on `error` before"),
    ("openai-python: POST /v1/completions event", "choices.[].finish_reason", "null in OpenAI's own streams, too"),
    ("POST /v1/responses event", "response.usage: None", "null until the end in OpenAI's own streams, too"),
    ("POST /api/v1/responses event", "data.response.usage: None", "null until the end in OpenAI's own streams, too"),
    ("POST /api/v1/responses event", "data.part.type: 'reasoning_text'", "as OpenAI's document and all SDKs have it"),
    ("POST /api/v1/messages", "the status ", "Anthropic's statuses, which its clients know"),
)
_MARKS = frozenset({"discriminator", "example", "examples", "default"})  # they hold no schemas


class Document:
    """One OpenAPI document, and what its routes may answer."""

    def __init__(self, file: Path) -> None:
        read = yaml.load(file.read_text(), yaml.CSafeLoader)
        self._paths: dict[str, Any] = read["paths"]
        resource = Resource.from_contents(_plain(read), DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(URN, resource)

    def deviations(self, answer: Answer) -> list[str]:
        """How an answer differs from what its route is said to answer; nothing where nothing is said."""
        route = self._paths.get(answer.path, {}).get(answer.method)
        if route is None:
            return []
        said = route["responses"].get(str(answer.status))
        if said is None:
            documents_errors = any(
                status.startswith(("4", "5")) and "content" in one for status, one in route["responses"].items()
            )
            return [f"the status {answer.status} is not documented"] if documents_errors else []
        media = "text/event-stream" if answer.event else "application/json"
        if media not in said.get("content", {}):
            return []
        steps = ("paths", answer.path, answer.method, "responses", str(answer.status), "content", media, "schema")
        place = f"{URN}#/{'/'.join(map(_escaped, steps))}"
        validator = Draft202012Validator({"$ref": place}, registry=self._registry)
        tried: list[Any] = [answer.payload]
        if answer.event:  # some documents describe the whole event, some its data
            tried.append({"data": answer.payload, "event": answer.payload.get("type", "")})
        found = [[_finest(error) for error in validator.iter_errors(one)] for one in tried]
        return [_told(error) for error in max(found, key=lambda errors: (not errors, *map(_depth, errors[:1])))]


def _plain(schema: Any) -> Any:
    """With `nullable` as 3.1 says it, and without the demand that one of several alternatives alone fits."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: one if name in _MARKS else _plain(one) for name, one in schema.items()}
    if isinstance(plain.get("oneOf"), list):
        plain["anyOf"] = plain.pop("oneOf")
    if plain.pop("nullable", None) is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _finest(error: ValidationError) -> ValidationError:
    """What is wrong inside the alternative that was meant: whose `type` fits, else which fits furthest."""
    if not error.context:
        return error
    alternatives: dict[int | str, list[ValidationError]] = {}
    for inner in error.context:
        alternatives.setdefault(inner.relative_schema_path[0], []).append(inner)
    return min(map(_worst, alternatives.values()), key=lambda one: (_is_kind(one), -_depth(one)))


def _worst(errors: Sequence[ValidationError]) -> ValidationError:
    """Of one alternative: that it is not meant at all, or else the deepest."""
    return max(map(_finest, errors), key=lambda one: (_is_kind(one), _depth(one)))


def _is_kind(error: ValidationError) -> bool:
    """Whether it says that another kind of thing is due: another `type`, object or status, or no object at all."""
    named = bool(error.relative_path) and error.relative_path[-1] in ("type", "object", "role", "status")
    return error.validator == "type" or (named and error.validator in ("const", "enum"))


def _depth(error: ValidationError) -> int:
    return len(error.absolute_path)


def _told(error: ValidationError) -> str:
    path = ".".join("[]" if isinstance(part, int) else str(part) for part in error.absolute_path)
    return f"{path or 'the whole'}: {error.message[:200]}"


def of_documents(answers: Sequence[Answer], documents: Mapping[str, Document]) -> Iterator[tuple[str, str]]:
    """Where, and what: of `/v1` by the document for it, of `/api/v1` likewise."""
    for answer in answers:
        document = documents.get(answer.base)
        for found in document.deviations(answer) if document is not None else ():
            yield _place(answer), found


async def of_types(answers: Sequence[Answer], sdk: str) -> list[tuple[str, str]]:
    """The same, by the strict types of an SDK, in the environment that has it."""
    given = json.dumps(
        [[one.name, one.base, one.path, one.method, one.status, one.event, one.payload] for one in answers]
    )
    process = await asyncio.create_subprocess_exec(
        *command_of(sdk, SDKS[sdk]), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(given.encode())
    assert process.returncode == 0, f"{sdk} could not read them"
    return [(f"{sdk}: {_place(answers[index])}", what) for index, what in json.loads(out)]


def is_accepted(place: str, what: str) -> bool:
    return any(place.startswith(where) and what.startswith(which) for where, which, _ in ACCEPTED)


def _place(answer: Answer) -> str:
    kind = "event" if answer.event else answer.status
    return f"{answer.method.upper()} {answer.base}{answer.path} {kind} ({answer.name})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.specs", description=__doc__)
    parser.add_argument("--openrouter", type=Path, help="OpenRouter's document, for /api/v1")
    parser.add_argument("--openai", type=Path, help="OpenAI's document, for /v1")
    parser.add_argument(
        "--no-sdks", action="store_true", help="leave out the types of the SDKs, which are installed first"
    )
    given = parser.parse_args(arguments)
    files = {"/api/v1": given.openrouter, "/v1": given.openai}
    documents = {base: Document(file) for base, file in files.items() if file}
    with tempfile.TemporaryDirectory() as folder:
        answers = asyncio.run(all_answers(Path(folder)))
    found = list(of_documents(answers, documents))
    for sdk in () if given.no_sdks else SDKS:
        found += asyncio.run(of_types(answers, sdk))
    found = [one for one in found if not is_accepted(*one)]
    print(f"{len(answers)} answers and events, {len(documents)} documents, {0 if given.no_sdks else len(SDKS)} SDKs")
    kinds: dict[tuple[str, str], list[str]] = {}
    for place, what in found:
        kinds.setdefault((place.partition(" (")[0], what), []).append(place)
    for (place, what), places in kinds.items():
        print(f"{place}: {what} ({len(places)}x, first {places[0].rpartition('(')[2]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
