"""What litellm's cost map says about the capabilities of each model's endpoints.

The map is a large file, so it is read on a thread, once for each model, and not kept.
"""

import asyncio

from gateway.prices.litellm_map import package_claims
from gateway.types import Model
from gateway.types.capability_claims import CapabilityClaims


class ModelClaims:
    """For the models of one configuration."""

    def __init__(self) -> None:
        self._read: dict[str, CapabilityClaims] = {}  # by model id

    def __repr__(self) -> str:
        return f"<ModelClaims of {len(self._read)} models>"

    async def of(self, model: Model) -> CapabilityClaims:
        if model.id not in self._read:
            self._read[model.id] = await asyncio.to_thread(package_claims, model.endpoints)
        return self._read[model.id]
