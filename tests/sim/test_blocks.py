from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.blocks import BLOCK, BlockCache

chains = st.lists(st.integers(0, 4), max_size=6)


def test_the_run_from_the_start_is_cached_and_never_more_than_the_prompt() -> None:
    cache = BlockCache(ttl=60.0)
    cache.read((1, 2, 3), now=0.0)
    assert cache.cached((1, 2, 9, 3), 9_000, now=0.0) == 2 * BLOCK
    assert cache.cached((1, 2, 3), 1_300, now=0.0) == 1_300
    assert cache.cached((9, 1, 2), 9_000, now=0.0) == 0


def test_a_block_lives_its_ttl_after_its_last_use() -> None:
    cache = BlockCache(ttl=60.0)
    cache.read((1, 2), now=0.0)
    cache.read((1,), now=50.0)
    assert cache.cached((1, 2), 9_000, now=60.0) == 2 * BLOCK
    assert cache.cached((1, 2), 9_000, now=60.1) == BLOCK
    assert cache.cached((1, 2), 9_000, now=110.1) == 0


@given(st.lists(chains, max_size=8), chains)
def test_it_agrees_with_the_longest_live_run(reads: list[list[int]], asked: list[int]) -> None:
    cache, used = BlockCache(ttl=3.0), {}
    for now, hashes in enumerate(reads):
        cache.read(hashes, float(now))
        used |= dict.fromkeys(hashes, now)
    now = len(reads)
    alive = [block in used and now - used[block] <= 3 for block in asked]
    run = alive.index(False) if False in alive else len(alive)
    assert cache.cached(asked, 10**6, float(now)) == run * BLOCK
