"""The balancer carries bytes both ways, and passes over a backend that refuses."""

from tests.reliability.balancer import balanced
from tests.reliability.client import Question, ask
from tests.reliability.signed import signed
from tests.support.host import ScriptedHost, answers, completion
from tests.support.ports import free_port

GOOD = answers(200, completion("".join(signed("h1", "a", 3))))
QUESTION = Question(1, "m", stream=False)


async def test_backends_in_turn() -> None:
    async with ScriptedHost(GOOD) as one, ScriptedHost(GOOD) as two, balanced([one.port, two.port]) as balancer:
        said = [await ask(QUESTION, balancer.port) for _ in range(4)]
        assert [answer.text for answer in said] == ["whole"] * 4
        assert (len(one.requests), len(two.requests), balancer.refused) == (2, 2, 0)


async def test_a_backend_that_refuses_is_passed_over() -> None:
    async with ScriptedHost(GOOD) as one, balanced([free_port(), one.port]) as balancer:
        said = [await ask(QUESTION, balancer.port) for _ in range(3)]
        assert [answer.end for answer in said] == ["done"] * 3


async def test_no_backend() -> None:
    async with balanced([free_port()]) as balancer:
        assert (await ask(QUESTION, balancer.port)).end == "cut"
        assert balancer.refused == 1
