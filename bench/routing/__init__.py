"""What routing is worth: `python -m bench.routing TRACE`. Replays in virtual time, nothing is sent.

    steady     price, hits, TTFT and the bias of predictions on three workloads, policies beside baselines
    changes    hosts that slow down, stop caching, join, fill up, fall silent or get dearer: how soon a policy notices
    price      blended price of a policy under a cap, beside baselines and the floor: hits are learned, none is given
    honesty    the same with a host that advertises a cache discount and never gives it
    success    requests that get a first token, with hosts at their measured uptimes and outages
    tail       TTFT p99 of `nitro`, hedged and not, beside each host alone

`steady` and `success` are measured with the fleet's failures and outages, the others on hosts that never fail, so that
they are about choice alone. Every replay starts cold.
"""
