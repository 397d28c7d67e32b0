"""The one door: `magpie`. It alone may import catalog_tools and benchmarks, inside commands.

daemon.py   run, watch, probe, status, config
diag.py     diag, --version
camera.py   camera list, add, remove, pause, resume; reload
catalog.py  catalog build, add, remove, list, check
query.py    catalog query
keeping.py  catalog label, rebuild, duplicates
evaluate.py, calibrate.py, tune.py: catalog evaluate, calibrate, tune
models.py   weights
training.py train
shows.py    demo
bench.py    bench
terminal.py how all of them print
"""

import sys

import pipeline.offline  # noqa: F401  (before anything heavy can be imported)
from pipeline.errors import MagpieError
from pipeline.writable import as_refusal
from streamer.redaction import redact, remember_command_line


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and its exit code."""
    from streamer.cli.application import app
    from streamer.cli.terminal import say_aside, take_any_text
    from streamer.reporting import hide_secrets_in_tracebacks

    remember_command_line(sys.argv[1:])
    take_any_text()
    try:
        app(standalone_mode=True)
    except MagpieError as error:
        say_aside(*f"magpie: {redact(str(error))}".split("\n"))
        sys.exit(error.exit_code)
    except OSError as error:
        told = as_refusal(error)
        if told is None:
            raise
        say_aside(f"magpie: {redact(str(told))}")
        sys.exit(told.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        hide_secrets_in_tracebacks()  # here: typer sets a hook of its own
        raise
