"""The live shell: performs an exchange's commands by callbacks, over any sink.

    Proxy.serve(request, policy, sink) ── cache hit ──> replay
          │ miss
          └─> Serving ── events ──> route.Exchange ── commands ──> Attempt (transport, reader), Wheel, sink, books

The core decides, this moves bytes. Between first token and end, bytes go from the host's connection to the sink
without passing through the core.
"""
