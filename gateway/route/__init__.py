"""The decision, pure: time, chance and knowledge are arguments.

    request, policy, fleet, now, chance -> plan.make_plan -> Plan      which endpoints, in which order, and why
    Plan, events                        -> exchange.Exchange -> commands  what to do about one request
    outcomes                            -> fleet.Fleet                 what is learned from every attempt

Nothing here reads a clock, draws a number, opens a socket or logs. The live proxy and the simulator drive the same
code.
"""
