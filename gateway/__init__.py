"""A gateway that routes DeepSeek-V3.2 requests over many hosts by the price and latency really paid."""

__version__ = "0.1.0"
