"""Disks that refuse: what runs in them sees a folder read-only, full or out of inodes, root too."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def can_mount() -> bool:
    """Whether this machine lets its users mount in a namespace of their own."""
    try:
        done = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True,
            timeout=10,
        )
    except OSError:
        return False
    return done.returncode == 0


def run_with_tmpfs(
    mounts: dict[str | Path, str], *arguments: object, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python where each folder of `mounts` is a tmpfs of those options ("size=64k").

    "ro": it keeps what is in it, this checkout perhaps, and takes nothing more. Skips the test
    where that cannot be done.
    """
    if not can_mount():
        pytest.skip("mounts in a namespace are not allowed here")
    script = "".join(
        f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}' && "
        if options == "ro"
        else f"mount -t tmpfs -o {options} none '{folder}' && "
        for folder, options in mounts.items()
    )
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script + 'exec "$@"', "sh", sys.executable]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
