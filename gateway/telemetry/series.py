"""The series of the history, and their keys in the store: a string (`Packed`) for each series and bucket of time.

    gw:{books}:history:minute:BUCKET:KIND:MODEL NAME      3 hours
    gw:{books}:history:hour:BUCKET:KIND:MODEL NAME        31 days
    gw:{books}:history:day:BUCKET:KIND:MODEL NAME         400 days
    gw:{books}:names:DAY:KIND:MODEL                       400 days: a set, the names of the kind that the day has

Kinds are `all` (its only name is empty), `endpoint`, `policy`, `app` and `key` (hashed). There are no cross products.
A day has at most `MOST` names of a kind, first come, first served; what else comes is counted as `OTHER`. Buckets are
Unix time divided by 60, 3,600 and 86,400, so days are in UTC. No model's id contains a space.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

BOOKS = "gw:{books}"  # the start of every key that the shipper writes: a cluster keeps them in one slot, for one script
Kind = Literal["all", "endpoint", "policy", "app", "key"]
Unit = Literal["minute", "hour", "day"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNITS: tuple[Unit, ...] = get_args(Unit)
SECONDS: dict[Unit, int] = {"minute": 60, "hour": 3_600, "day": 86_400}
KEPT: dict[Unit, int] = {"minute": 3 * 3_600, "hour": 31 * 86_400, "day": 400 * 86_400}  # seconds after its start
MOST: dict[Kind, int] = {"all": 1, "endpoint": 200, "policy": 200, "app": 20, "key": 20}
OTHER = "other"


class Series(NamedTuple):
    """One series of a model."""

    model: str
    kind: Kind
    name: str

    def key(self, unit: Unit, bucket: int) -> str:
        """Where the store keeps one bucket of it."""
        return f"{BOOKS}:history:{unit}:{bucket}:{self.kind}:{self.model} {self.name}"


def names_key(model: str, kind: Kind, day: int) -> str:
    """Where the store keeps the names of a day."""
    return f"{BOOKS}:names:{day}:{kind}:{model}"


def ends(unit: Unit, bucket: int) -> int:
    """When the store drops a bucket, in Unix seconds."""
    return bucket * SECONDS[unit] + KEPT[unit]


@lru_cache(maxsize=4096)
def hashed(tenant: str) -> str:
    """The name of a tenant's series: 8 hexadecimal digits, because the page may be public and tenants are not."""
    return blake2b(tenant.encode(errors="surrogatepass"), digest_size=4).hexdigest()


@lru_cache(maxsize=4096)
def hashed_user(tenant: str, user: str) -> str:
    """A client's name for its user in the ledger: 16 hexadecimal digits, which differ from tenant to tenant."""
    text = f"{tenant}\n{user}".encode(errors="surrogatepass")
    return blake2b(text, digest_size=8, person=b"gateway user").hexdigest()


@lru_cache(maxsize=4096)
def public_app(app: str) -> str:
    """An app's title, or its URL without what may be private: user, query, fragment."""
    if "://" not in app:
        return app
    try:
        url = urlsplit(app)
    except ValueError:
        return ""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
