"""A gateway that routes DeepSeek-V3.2 requests across many hosts by measured cost and latency."""

__version__ = "0.1.0"
