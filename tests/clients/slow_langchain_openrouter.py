"""Two answers that take long, whole and streamed, by LangChain's `ChatOpenRouter`, its own timeouts: BASE_URL KEY."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from langchain_openrouter import ChatOpenRouter

base_url, key = sys.argv[1:3]
chat = ChatOpenRouter(model="deepseek/deepseek-v3.2", base_url=base_url, api_key=key)


def whole():
    return chat.invoke("Take your time").content


def streamed():
    return "".join(chunk.content for chunk in chat.stream("Take your time"))


with ThreadPoolExecutor() as threads:
    both = threads.submit(whole), threads.submit(streamed)
    print(json.dumps([one.result() for one in both]))
