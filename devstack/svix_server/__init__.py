"""A server that the unchanged official Svix SDK talks to: it really signs, delivers, retries and disables.

It stands in for the open-source svix-server, plus the few cloud routes PINKSYNC uses. What it must do
is written in facts/svix.md; every module names the section it follows. `python -m devstack.svix_server`
starts it.
"""
