"""Types of fields that requests and responses share.

    types.py, *_types.py, and Structs next to the code that makes a response ──> gateway.api.openapi ──> /openapi.json

A request, and a response to which hosts may add fields, is a TypedDict: it describes a dict, whose other fields are
passed on. It is not used for decoding; tests compare it with the code that reads the fields. A response that the
gateway makes itself is an `ApiObject`, which encodes it.
"""

from typing import Annotated, Any, Generic, TypedDict, TypeVar

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

T = TypeVar("T")
Json = dict[str, Any]

COMPONENT = "#/components/schemas/{name}"  # reference to the schema of a type in the OpenAPI document

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Usd = Annotated[float, Meta(description="USD")]
UsdPerToken = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="USD per token")]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Day = Annotated[str, Meta(extra_json_schema={"format": "date"})]
Percent = Annotated[float, Meta(description="percent")]
Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]
No = Annotated[bool, Meta(extra_json_schema={"const": False})]
WITH_MODEL = Meta(extra_json_schema={"required": ["model"]})
ModelName = Annotated[str, Meta(extra_json_schema={"$ref": COMPONENT.format(name="ModelName")})]


class Percentiles(TypedDict, total=False):
    """One figure per percentile."""

    p50: float
    p75: float
    p90: float
    p99: float


class ApiObject(Struct, forbid_unknown_fields=True):
    """An object that the gateway encodes: exactly its fields, except those that are UNSET."""


class Data(ApiObject, Generic[T]):
    """OpenRouter's envelope."""

    data: T


class DataList(ApiObject, Generic[T]):
    """OpenRouter's envelope of a list."""

    data: list[T]


def json_answer(body: Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
