"""How a gateway shuts down: `drain:` in gateway.yaml."""

from dataclasses import dataclass

from gateway.types.units import Seconds


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """`notice`: after SIGTERM, new requests are still served so long, until load balancers have noticed. `limit`: after
    it, what still runs is ended; it counts from the signal."""

    notice: Seconds = 3.0
    limit: Seconds = 100.0
