"""What goes out to every host of the catalogue, and what is made of what comes back, as files that a diff shows.

    requests/<endpoint>.json   three inputs, as this host is sent them
    answers/<case>.sse|json    what a host sends; <case>.told.json is what the gateway makes of it

Written anew by `python -m tests.upstream.golden`, compared by the tests; read the diff before it is committed.
"""
