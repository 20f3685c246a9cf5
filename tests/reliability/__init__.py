"""Long trials of a whole gateway: `python -m tests.reliability NAME`, with a report in docs/reliability.md."""
