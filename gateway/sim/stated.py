"""What the user's text states, so that the simulated model can answer questions that have one right answer.

"What is 4817 + 2960?"            7777
"The access code is 123456."      123456, where the code is asked for
"city=Oslo; open=true"            the values of a record or of a call's arguments
"""

import re
from typing import Any

_SUM = re.compile(r"What is (\d{1,12}) ([+*-]) (\d{1,12})\?")
_CODE = re.compile(r"The access code is (\w+)\.")
_ASKS_FOR_CODE = re.compile(r"What is the access code\?")
_PAIR = re.compile(r"(\w+)=([^;\s]+)")


def stated_answer(text: str) -> str | None:
    """The answer to a question of these kinds; None for any other text."""
    if (found := _SUM.search(text)) is not None:
        first, second = int(found[1]), int(found[3])
        return str({"+": first + second, "-": first - second, "*": first * second}[found[2]])
    if _ASKS_FOR_CODE.search(text) and (code := _CODE.search(text)) is not None:
        return code[1]
    return None


def stated_values(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The values that the text states for properties of the schema, each as its type."""
    properties = schema.get("properties", {})
    return {
        name: _typed(value, properties[name].get("type")) for name, value in _PAIR.findall(text) if name in properties
    }


def _typed(value: str, kind: Any) -> Any:
    if kind == "boolean":
        return value == "true"
    return int(value) if kind == "integer" and value.lstrip("-").isdigit() else value
