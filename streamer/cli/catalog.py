"""magpie catalog build, add, remove, list, check, query."""

import typer

app = typer.Typer(no_args_is_help=True, help="Build and ask catalogs.")
