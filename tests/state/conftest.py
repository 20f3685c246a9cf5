from tests.support.valkey import client, engine, valkey

__all__ = ["client", "engine", "valkey"]
