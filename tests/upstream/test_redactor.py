"""What of a host's failure is shown, and to whom."""

import pytest

from gateway.types import Endpoint, Failure, Fault
from gateway.upstream.redactor import SHORTEST_SECRET, Redactor
from tests.support.gateway import Gateway
from tests.support.host import Out, Received, ScriptedHost, answers

KEY = "a1b2c3d4e5f6"
HOST = Endpoint("a/fp8", "a", "https://a.example/v1", "m", api_key_env="A_KEY")
REFUSED = Failure(Fault.ACCOUNT, "refused (HTTP 401)", status=401, private=f"no account for {KEY}; balance -3.20")


@pytest.fixture
def redactor() -> Redactor:
    return Redactor([KEY, "EMPTY"])


def test_a_key_that_a_host_repeats_is_not_shown(redactor: Redactor) -> None:
    told = redactor.concealed(Failure(Fault.REJECTED, f"key {KEY} may not use this model", code=f"no-{KEY}"), HOST)
    assert (told.message, told.code) == ("key [redacted] may not use this model", "no-[redacted]")
    assert told.fault == "rejected"


def test_other_words_stay_as_they_are(redactor: Redactor) -> None:
    failure = Failure(Fault.REJECTED, "EMPTY messages")
    assert len("EMPTY") < SHORTEST_SECRET
    assert redactor.concealed(failure, HOST) is failure


def test_a_secret_is_known_from_its_least_length_on() -> None:
    least, shorter = "s" * SHORTEST_SECRET, "t" * (SHORTEST_SECRET - 1)
    redactor = Redactor([least, shorter])
    assert redactor.concealed(Failure(Fault.SERVER, f"{least} {shorter}"), HOST).message == f"[redacted] {shorter}"


def test_a_secret_in_the_code_alone_is_not_shown(redactor: Redactor) -> None:
    assert redactor.concealed(Failure(Fault.SERVER, "busy", code=KEY), HOST) == Failure(
        Fault.SERVER, "busy", code="[redacted]"
    )


def test_a_secret_is_not_shown_as_a_url_has_it() -> None:
    redactor = Redactor(["a+b/c=d==e"])
    failure = redactor.concealed(Failure(Fault.SERVER, "/v1?key=a%2Bb%2Fc%3Dd%3D%3De"), HOST)
    assert failure.message == "/v1?key=[redacted]"


def test_a_host_without_a_code(redactor: Redactor) -> None:
    assert redactor.concealed(Failure(Fault.SERVER, KEY), HOST) == Failure(Fault.SERVER, "[redacted]")


def test_what_a_host_says_of_the_account_is_for_the_operator(redactor: Redactor) -> None:
    for_operator = Redactor([KEY], to_operator=True)
    explained = "refused (HTTP 401); check A_KEY; the host says: no account for [redacted]; balance -3.20"
    assert redactor.concealed(REFUSED, HOST).message == "refused (HTTP 401)"
    assert for_operator.concealed(REFUSED, HOST).message == explained
    assert redactor.explained(REFUSED, HOST) == for_operator.explained(REFUSED, HOST) == explained
    assert redactor.explained(Failure(Fault.ACCOUNT, "no such model", status=404), HOST) == "no such model"


async def test_neither_the_client_nor_the_ledger_sees_it(gateway: Gateway) -> None:
    """Nor a key that looks like none: short, without a prefix."""

    async def repeats(request: Received, out: Out) -> None:
        key = request.headers["authorization"].removeprefix("Bearer ")
        await answers(400, b'{"error": {"message": "the account of %s has no such model"}}' % key.encode())(
            request, out
        )

    async with (
        ScriptedHost(repeats) as host,
        gateway({"a/fp8": host.url}, endpoint={"api_key_env": "HOST_KEY"}, environ={"HOST_KEY": KEY}) as running,
    ):
        told = await running.chat()
        shown = (await running.client.get("/page/model.json")).text
        rows = "".join(path.read_text() for path in (running.folder / "ledger").glob("*.jsonl"))
    assert told.status_code >= 400
    assert "the account of [redacted] has no such model" in told.text
    assert KEY not in told.text + shown + rows
    assert "[redacted]" in rows
