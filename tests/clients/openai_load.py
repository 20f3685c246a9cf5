"""Load by OpenAI's SDK, as test_rolling_restart starts it: `python openai_load.py URL STOP`.

Streams and whole answers until the file STOP exists. Prints how many were right, and what went wrong, as JSON. The SDK
does not retry: what it would hide counts.
"""

import json
import os
import sys
import threading

from openai import OpenAI

WORDS = "one two three"
LOOPS = 6


def ask(client: OpenAI, stream: bool) -> str:
    asked = client.chat.completions.create(
        model="deepseek-v3.2", messages=[{"role": "user", "content": "Hi"}], stream=stream
    )
    if not stream:
        return asked.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in asked if chunk.choices)


def load(url: str, stop: str, stream: bool, good: list[str], bad: list[str]) -> None:
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    while not os.path.exists(stop):
        try:
            answer = ask(client, stream)
            (good if answer == WORDS else bad).append(answer)
        except Exception as error:
            bad.append(f"{type(error).__name__}: {error} {error.__cause__!r}")


def main() -> None:
    url, stop = sys.argv[1:]
    good: list[str] = []
    bad: list[str] = []
    loops = [threading.Thread(target=load, args=(url, stop, number % 2 == 0, good, bad)) for number in range(LOOPS)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    print(json.dumps({"good": len(good), "bad": bad}))


main()
