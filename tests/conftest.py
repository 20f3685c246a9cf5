pytest_plugins = ["tests.support.programs"]
