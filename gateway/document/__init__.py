"""YAML with positions, decoded into frozen dataclasses.

    text --parse--> Node --merge--> Node --decode--> frozen dataclasses | one ConfigError with all problems

A problem is one line, `file:line:column: problem; correction`. It never contains the value of a field that may hold a
secret.
"""

from gateway.document.document_reader import INVALID, DocumentReader, Hook, decode, in_unit, nearest, quantity
from gateway.document.node import (
    Entry,
    Items,
    Node,
    Place,
    Scalar,
    Table,
    below,
    merge,
    parse,
    place_at,
    read,
    scalars,
    text_at,
)

__all__ = [
    "INVALID",
    "DocumentReader",
    "Entry",
    "Hook",
    "Items",
    "Node",
    "Place",
    "Scalar",
    "Table",
    "below",
    "decode",
    "in_unit",
    "merge",
    "nearest",
    "parse",
    "place_at",
    "quantity",
    "read",
    "scalars",
    "text_at",
]
