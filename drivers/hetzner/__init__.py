"""Hetzner Cloud through its HTTPS API and a project's API token."""

from drivers.hetzner.driver import Hetzner as DRIVER

__all__ = ["DRIVER"]
