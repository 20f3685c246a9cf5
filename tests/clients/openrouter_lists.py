"""What OpenRouter's Python SDK lists, pointed at the gateway. Its models are strict: what it takes has every key.

Run by test_openrouter_lists.py with the interpreter of the SDK's own environment: BASE_URL KEY GENERATION
"""

import json
import sys

from openrouter import OpenRouter

url, key, generation = sys.argv[1:4]
with OpenRouter(server_url=url, api_key=key) as client:
    (listed,) = client.models.list().result.data
    endpoints = client.endpoints.list(author="deepseek", slug="deepseek-v3.2").data.endpoints
    told = client.generations.get_generation(id=generation).data
    seen = {
        "models": [listed.id, listed.pricing.prompt],
        "count": client.models.count().data.count,
        "endpoints": [one.tag for one in endpoints],
        "zdr": [one.tag for one in client.endpoints.list_zdr_endpoints().data],
        "providers": [one.slug for one in client.providers.list().data],
        "generation": [told.id, told.finish_reason, [one.status for one in told.provider_responses]],
        "key": client.api_keys.get_current_key_metadata().data.label,
        "credits": client.credits.get_credits().data.total_usage,
        "activity": len(client.analytics.get_user_activity().data),
    }
print(json.dumps(seen))
