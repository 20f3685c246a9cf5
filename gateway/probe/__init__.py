"""Probes: small requests of the gateway itself to each endpoint, within a budget.

    Prober ─────────────> ProbeRound ─────────────> ProbeRunner ──> Proxy, the endpoint pinned ──> host
      │ lock, budget        │ speed run, canaries
      │                     └─ results ──> EndpointRecord, with a sequential test for drift
      └── ProbeStore <── records ──────────────────┘

`gateway probe` does one round from the terminal, without a store.
"""
