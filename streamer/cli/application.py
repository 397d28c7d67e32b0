"""Joins the groups of commands into one application."""

import contextlib
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from streamer.cli import (
    calibrate,
    catalog,
    daemon,
    diag,
    evaluate,
    keeping,
    keys,
    models,
    query,
    shows,
    training,
    tune,
)
from streamer.redaction import redact


class _Commands(TyperGroup):
    """The commands; what is wrong with their use is told without the secrets of an argument."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _usage_without_secrets():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _usage_without_secrets():
            return super().invoke(ctx)


@contextlib.contextmanager
def _usage_without_secrets() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = redact(message)  # type: ignore[attr-defined]  # typer's
        raise


app = typer.Typer(
    name="magpie",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Watches live video and tells you when an item of your catalog is in view.",
)
daemon.register(app)
for command in (query.query, keeping.label, keeping.rebuild, keeping.duplicates):
    catalog.app.command()(command)
diag.register(app)
catalog.app.command()(evaluate.evaluate)
catalog.app.command()(calibrate.calibrate)
catalog.app.command()(tune.tune)
app.add_typer(catalog.app, name="catalog")
app.add_typer(keys.keys_app, name="keys")
app.add_typer(models.weights_app, name="weights")
app.add_typer(training.train_app, name="train")
shows.register(app)
