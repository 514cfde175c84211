"""Settings for all tests."""

import os
import signal

from hypothesis import HealthCheck, settings

# Time limits per example fail on busy machines and say nothing about the code. In CI the examples are always the
# same, so that a change is judged by what it changes; elsewhere they are drawn anew.
settings.register_profile(
    "arriero",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("arriero")

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; the tests of Ctrl-C need it.
signal.signal(signal.SIGINT, signal.default_int_handler)
