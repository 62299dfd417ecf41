"""A disk whose room is in a test's hands, as the kernel tells it; its content is the real one's."""

import os

import pytest


def disk(free_bytes: int) -> os.statvfs_result:
    """One with so much room, to the byte: statvfs(3)."""
    return os.statvfs_result((1, 1, 0, 0, free_bytes, 0, 0, 0, 0, 255))


def free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """So much room is left from now on."""
    monkeypatch.setattr(os, "statvfs", lambda path: disk(free_bytes))
