"""Property tests are slow when many run at once: no deadline for one example."""

from hypothesis import HealthCheck, settings

settings.register_profile("pinksync", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pinksync")
