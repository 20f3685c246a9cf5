"""The live shell: performs an exchange's commands by callbacks, over any sink.

    Proxy.serve(request, policy, sink) ── cache hit ──> replay
          │ miss
          └─> LiveExchange ── events ──> route.Exchange ── commands ──> Attempt, Wheel, Journal, Reply ──> sink

The core decides, this moves bytes. Between first token and end, bytes go from the host's connection to the sink
without passing through the core.
"""
