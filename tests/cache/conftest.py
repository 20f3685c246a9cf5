from tests.support.valkey import engine, valkey

__all__ = ["engine", "valkey"]
