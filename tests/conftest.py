"""What holds for all tests."""

import signal

from hypothesis import settings

pytest_plugins = ["tests.support.gateway", "tests.support.programs"]

settings.register_profile("repeatable", deadline=None, derandomize=True)  # no test fails by chance, or by the clock
settings.load_profile("repeatable")

# A shell starts what runs in the background deaf to Ctrl-C, and nohup to SIGHUP; children inherit that, unless there is
# a handler, and tests send both to them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, lambda *_: None)
