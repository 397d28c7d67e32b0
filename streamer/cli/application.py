"""Joins the groups of commands into one application."""

import typer

from streamer.cli import calibrate, catalog, daemon, evaluate, models, shows, training

app = typer.Typer(
    name="magpie",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Watches live video and tells you when an item of your catalog is in view.",
)
daemon.register(app)
catalog.app.command()(evaluate.evaluate)
catalog.app.command()(calibrate.calibrate)
app.add_typer(catalog.app, name="catalog")
app.add_typer(models.weights_app, name="weights")
app.add_typer(training.train_app, name="train")
shows.register(app)
