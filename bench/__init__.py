"""What a request and an event cost, beside peers: `python -m bench`."""
