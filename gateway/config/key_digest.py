"""What is kept of a client's key or the admin key: its SHA-256, never the key itself.

The hash has no salt, so that a request's key is found by one lookup of its digest.
"""

from hashlib import sha256


def key_digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
