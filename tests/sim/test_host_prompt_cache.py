from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.host_prompt_cache import BLOCK_CHARS, BLOCK_TOKENS, HostPromptCache, prompt_text

PROMPT = "".join(f"{number:>{BLOCK_CHARS}}" for number in range(10))  # ten distinct blocks


def test_a_prompt_seen_before_is_cached_up_to_its_last_whole_block() -> None:
    cache = HostPromptCache(ttl=300)
    assert cache.read(PROMPT + "rest", now=0) == 0
    assert cache.read(PROMPT + "rest", now=1) == 10 * BLOCK_TOKENS


def test_a_block_is_forgotten_when_it_was_not_used_for_the_ttl() -> None:
    cache = HostPromptCache(ttl=300)
    cache.read(PROMPT, now=0)
    assert cache.read(PROMPT, now=300) == 10 * BLOCK_TOKENS
    assert cache.read(PROMPT, now=600) == 10 * BLOCK_TOKENS
    assert cache.read(PROMPT, now=901) == 0


def test_a_cached_prefix_ends_at_the_first_difference() -> None:
    cache = HostPromptCache(ttl=300)
    cache.read(PROMPT, now=0)
    changed = PROMPT[: 4 * BLOCK_CHARS] + "x" + PROMPT[4 * BLOCK_CHARS + 1 :]
    assert cache.read(changed, now=1) == 4 * BLOCK_TOKENS


def test_capacity_drops_the_least_recently_used_blocks() -> None:
    cache = HostPromptCache(ttl=300, capacity=10)
    cache.read(PROMPT, now=0)
    cache.read("y" * BLOCK_CHARS, now=1)
    assert cache.read(PROMPT, now=2) == 0  # its first block made room


@given(st.text(), st.integers(0, 3000), st.text())
def test_never_more_is_cached_than_the_common_prefix(tail: str, common: int, other: str) -> None:
    cache = HostPromptCache(ttl=300)
    cache.read(PROMPT[:common] + "a" + tail, now=0)
    assert cache.read(PROMPT[:common] + "b" + other, now=0) == common // BLOCK_CHARS * BLOCK_TOKENS or common > 2560


def test_prompt_text_puts_tools_first_and_reads_parts() -> None:
    text = prompt_text(
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        }
    )
    assert text.endswith("<user>onetwo")
    assert text.startswith('[{"type"')
