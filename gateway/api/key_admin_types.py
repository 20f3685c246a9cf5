"""Requests and responses of the key management API, which follows OpenRouter's."""

from typing import Literal, TypedDict

from msgspec import UNSET, Struct, UnsetType

from gateway.intake.field_types import ApiObject, Moment, Usd

Reset = Literal["daily", "weekly", "monthly"]


class KeyQuery(TypedDict, total=False):
    """`offset`: how many keys are skipped, by name; a response has at most 100."""

    offset: int


class LimitFields(Struct, forbid_unknown_fields=True):
    """Limits of a key; null removes one."""

    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    usd_per_day: float | UnsetType | None = UNSET
    usd_per_month: float | UnsetType | None = UNSET


class KeyFields(Struct, forbid_unknown_fields=True):
    """A new key, or what is to change of one; what is absent stays. `limit` with `limit_reset` is a budget in
    OpenRouter's words; `weekly` is not supported."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    limit: float | UnsetType | None = UNSET
    limit_reset: Reset | UnsetType | None = UNSET
    include_byok_in_limit: bool | UnsetType = UNSET
    expires_at: str | UnsetType | None = UNSET
    policy: str | UnsetType | None = UNSET
    policies: tuple[str, ...] | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType = UNSET
    group: str | UnsetType | None = UNSET
    limits: LimitFields | UnsetType = UNSET


class RotateFields(Struct, forbid_unknown_fields=True):
    """`grace`: seconds for which the former secret works; 0 ends all former ones."""

    grace: float = 86_400.0


class LimitInfo(ApiObject):
    """One limit in its current period: requests, tokens or USD. `remaining` leaves out what is reserved."""

    limit: str
    scope: str
    name: str
    bound: float
    used: float
    remaining: float
    resets_at: Moment


class KeyInfo(ApiObject):
    """A virtual key. `hash` is the SHA-256 of its secret; `label` is its name."""

    hash: str
    name: str
    label: str
    disabled: bool
    created_at: Moment
    updated_at: Moment
    expires_at: Moment | None
    policy: str | None
    policies: tuple[str, ...]
    models: tuple[str, ...]
    group: str | None
    limits: list[LimitInfo]
    limit: Usd | None
    limit_remaining: Usd | None
    limit_reset: Reset | None
    usage: Usd
    include_byok_in_limit: bool = False


class NewKey(ApiObject):
    """`key` is the secret, which is not shown again."""

    data: KeyInfo
    key: str


class DeletedKey(ApiObject):
    deleted: bool = True
