"""Wires, for what follows events."""

from tests.streamer.publishing.conftest import open_wire, run_dir

__all__ = ["open_wire", "run_dir"]
