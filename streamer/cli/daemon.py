"""magpie run, watch, probe, status, config."""

import typer


def register(app: typer.Typer) -> None:
    """Add the daemon's commands to the application."""
