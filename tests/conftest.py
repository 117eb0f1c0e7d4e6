"""What every test may use: the shared servers of tests/shared_servers.py."""

pytest_plugins = ["tests.distribution", "tests.shared_servers"]
