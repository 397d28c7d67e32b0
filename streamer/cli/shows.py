"""magpie demo, bench."""

import typer


def register(app: typer.Typer) -> None:
    """Add the commands that show Magpie at work."""
