from tests.support.valkey import valkey

__all__ = ["valkey"]
