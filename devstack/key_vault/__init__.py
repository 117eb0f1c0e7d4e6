"""A Key Vault-compatible server, and the identity endpoint that App Service gives an app, in one process."""
