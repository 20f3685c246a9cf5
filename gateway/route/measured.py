"""What one worker measured of one endpoint, in the form that other workers take it."""

from typing import Annotated

import msgspec

from gateway.route.sketch import BUCKETS

SKETCHES = 6  # of an endpoint
RATES = 46

_Bucket = Annotated[int, msgspec.Meta(ge=0, lt=BUCKETS)]
_Hundredths = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Signed = Annotated[int, msgspec.Meta(ge=-(10**9), le=10**9)]
Counts = dict[_Bucket, _Hundredths]
Shares = tuple[_Hundredths, _Hundredths]
_Mean = tuple[_Signed, _Hundredths]


class Measured(msgspec.Struct, array_like=True):
    """What `own` of an endpoint's sketches and rates is, in the endpoint's order."""

    sketches: Annotated[list[Counts], msgspec.Meta(min_length=SKETCHES, max_length=SKETCHES)]
    rates: Annotated[list[_Mean], msgspec.Meta(min_length=RATES, max_length=RATES)]
