"""Two answers that take long, whole and streamed, by OpenRouter's SDK and its own timeouts: BASE_URL KEY."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from openrouter import OpenRouter

base_url, key = sys.argv[1:3]
client = OpenRouter(server_url=base_url, api_key=key)
ASKED = {"model": "deepseek/deepseek-v3.2", "messages": [{"role": "user", "content": "Take your time"}]}


def whole():
    return client.chat.send(**ASKED).choices[0].message.content


def streamed():
    with client.chat.send(**ASKED, stream=True) as events:
        return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


with ThreadPoolExecutor() as threads:
    both = threads.submit(whole), threads.submit(streamed)
    print(json.dumps([one.result() for one in both]))
