"""The decision, pure: time, random numbers and knowledge are arguments.

    request, policy, fleet, now, rng ──decide.make_plan──> Plan        which endpoints, in which order, and why
    Plan, events ──exchange.Exchange──> commands                       what to do about one request
    attempts that are over ──fleet.Fleet.learn──> endpoint states      what the next decision knows

Nothing here reads a clock, draws a number, opens a socket or logs. The live proxy and the simulator drive the same
code.
"""
