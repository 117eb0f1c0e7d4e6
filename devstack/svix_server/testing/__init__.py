"""For tests: the server as a process of its own, a receiver of webhooks, and short forms of SDK calls."""
