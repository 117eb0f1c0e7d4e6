"""The version of the code, and of which build its package is."""

from pathlib import Path

VERSION = "0.1.0"
BUILD = Path(__file__).with_name("build.txt")
"""Written by `scripts.package --build`."""


def packaged() -> str:
    """`0.1.0+1a2b3c` in a package that says so; without, the version alone."""
    return f"{VERSION}+{BUILD.read_text()}" if BUILD.exists() else VERSION
