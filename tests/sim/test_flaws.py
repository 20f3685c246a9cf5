from random import Random

import orjson
import pytest

from gateway.sim.flaws import SOUND, Flaws
from gateway.sim.sim_answer import SimAnswer, ToolCall

TEXT = SimAnswer((), ("It ", "is ", "42", "."), (), "stop")
JSON = SimAnswer((), ('{"year":', "1999", "}"), (), "stop")
CALL = SimAnswer((), (), (ToolCall("id", "save", ('{"year":', "1999", "}")),), "tool_calls")


@pytest.mark.parametrize("answer", [TEXT, JSON, CALL])
def test_a_sound_host_spoils_nothing(answer: SimAnswer) -> None:
    assert SOUND.spoil(answer, Random(0)) == answer
    assert [SOUND.thinks(on, Random(0)) for on in (True, False)] == [True, False]


def test_a_wrong_digit() -> None:
    assert "".join(Flaws(wrong=1.0).spoil(TEXT, Random(0)).content) == "It is 53."


def test_json_and_arguments_end_early() -> None:
    spoilt = Flaws(tools=1.0, schema=1.0)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads("".join(spoilt.spoil(JSON, Random(0)).content))
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads("".join(spoilt.spoil(CALL, Random(0)).calls[0].arguments))


def test_other_words_of_the_same_length() -> None:
    other = Flaws(other=1.0).spoil(TEXT, Random(0))
    assert other.content != TEXT.content
    assert len(other.content) == len(TEXT.content)


def test_a_share_of_the_answers_is_concerned() -> None:
    flaws, rng = Flaws(wrong=0.3, thinking=0.3), Random(0)
    assert 250 < sum(flaws.spoil(TEXT, rng) != TEXT for _ in range(1_000)) < 350
    assert 250 < sum(flaws.thinks(False, rng) for _ in range(1_000)) < 350
