"""How a gateway shuts down: `drain:` in gateway.yaml."""

from dataclasses import dataclass

from gateway.types.units import Seconds


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """`notice`: how long new requests are still served after SIGTERM, so that load balancers can take the gateway out
    of rotation. `limit`: the time from the signal after which requests in flight are cut off."""

    notice: Seconds = 3.0
    limit: Seconds = 100.0
