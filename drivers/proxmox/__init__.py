"""Proxmox VE 8 and 9 (KVM) through its HTTPS API and an API token."""

from drivers.proxmox.driver import Proxmox as DRIVER

__all__ = ["DRIVER"]
