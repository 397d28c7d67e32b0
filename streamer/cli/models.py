"""magpie weights …, magpie train …"""

import typer

weights_app = typer.Typer(no_args_is_help=True, help="The networks' weights.")
train_app = typer.Typer(no_args_is_help=True, help="Train the networks.")
