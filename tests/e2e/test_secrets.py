"""A whole gateway with workers: its secrets are in no log, no file, no process list and no core dump."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.gateway import gateway_command
from tests.support.host import ScriptedHost, answers

SECRETS = {
    "HOST_KEY": "host-key-1f0e",
    "GATEWAY_API_KEYS": "tenant:client-key-2d3c",
    "GATEWAY_ADMIN_KEY": "admin-key-4b5a",
    "STORE_PASSWORD": "store-password-6978",
    "PROXY_PASSWORD": "proxy-password-8796",
}
WORDS = [value.rpartition(":")[2] for value in SECRETS.values()]
PROMPT = "prompt-that-nobody-may-read"


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
async def test_no_secret_leaves_the_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fields = {"provider": "vllm", "model": "m", "price": {"input": 1, "output": 1}, "api_key_env": "HOST_KEY"}
    client, admin = ({"authorization": f"Bearer {WORDS[place]}"} for place in (1, 2))
    repeats = answers(500, {"error": {"message": f"invalid key host-key-1f0e for {PROMPT}"}})
    async with ScriptedHost(repeats) as host:
        proxy = "http://me:${PROXY_PASSWORD}@127.0.0.1:1"
        endpoints = [
            {"id": "a", "base_url": f"{host.url}/v1", **fields},
            {
                "id": "b",
                "base_url": "http://b.example/v1",
                "proxy": proxy,
                **fields,
            },
        ]
        models = {"deepseek/deepseek-v3.2": {"endpoints": endpoints}}
        flags = ("--workers", "2", "--redis", "redis://:${STORE_PASSWORD}@127.0.0.1:1/0")
        os_umask = os.umask(0o000)
        try:
            with log.open("wb") as output:
                async with gateway_command(
                    tmp_path, {}, *flags, environ=SECRETS, stderr=output, models=models, catalogue=True
                ) as running:
                    answered = [await running.chat(PROMPT, headers=client) for _ in range(3)]
                    await running.chat(PROMPT, headers={"authorization": "Bearer wrong"})
                    pages = [
                        (await running.client.get(path, headers=admin)).text
                        for path in ("/", "/metrics", "/page/model.json", "/page/exchanges.json")
                    ]
                    assert running.process is not None
                    processes = family(running.process.pid)
                    lines = [(Path("/proc") / str(one) / "cmdline").read_text() for one in processes]
                    limits = [(Path("/proc") / str(one) / "limits").read_text() for one in processes]
        finally:
            os.umask(os_umask)
    assert {answer.status_code for answer in answered} <= {500, 502, 503}
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    shown = {"log": log.read_text(), **{f"page {at}": text for at, text in enumerate(pages)}}
    shown |= {f"process {at}": line for at, line in enumerate(lines)}
    shown |= {f"answer {at}": answer.text for at, answer in enumerate(answered)}
    shown |= {str(path): path.read_bytes().decode("latin-1") for path in files}
    assert {where: word for where, text in shown.items() for word in WORDS if word in text} == {}
    quoted = {where for where, text in shown.items() if PROMPT in text and not where.startswith("answer")}
    assert not {where for where in quoted if not where.endswith(".jsonl")}, "only the ledger has a host's words"
    assert len(processes) >= 3
    assert all("Max core file size        0 " in text for text in limits)
    open_to_others = [str(path) for path in (tmp_path / "state", *files) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == [] or (tmp_path / "state").stat().st_mode & 0o077 == 0, "nobody else enters the folder"


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]
