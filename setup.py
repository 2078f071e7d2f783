"""For tools that ask for a ``setup.py``; everything about the distribution is in pyproject.toml."""

from setuptools import setup

setup()
