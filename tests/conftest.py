pytest_plugins = ["tests.support.gateway", "tests.support.programs"]
