"""Virtual keys; limits and budgets of keys, groups and apps, exact over all workers and replicas.

request ──> Limiter ──reserve──> Meter (this worker's share) ──settle──> what it really took
               └── shares: taken from and returned to the store, in the background ──> LimitStore
"""
