"""Every error that a user of Magpie can meet, in one tree.

MagpieError                 where: rule, got value; remedy
├── ConfigError             a configuration or command line that breaks a rule      (exit 2)
├── CatalogError            a catalog that is missing, empty, damaged or foreign    (exit 2)
│   ├── NotInCatalogError   no such catalog, item or picture
│   ├── CatalogExistsError  a name that is taken
│   ├── CatalogLockedError  another command writes it
│   └── CatalogChangedError another generation is in use than the caller has seen
├── WeightsError            weights that are missing, damaged or not what was asked (exit 2)
├── EngineError             a device or engine that was asked for and is not there  (exit 3)
├── SourceError             a stream that cannot be opened or read (kinds: streamer/errors.py)
└── WorkerError             a process that could not be started or kept alive       (exit 3 or 4)
"""

from typing import ClassVar

from pipeline.printable import printable, printable_lines


class MagpieError(Exception):
    """An error whose text a user can act on: **where: rule, got value; remedy**.

    The text is printable whatever names and values it tells of: it goes to terminals, logs and
    events alike.
    """

    exit_code = 3

    def __init__(self, text: str = "") -> None:
        super().__init__(printable_lines(text))

    @classmethod
    def at(cls, where: str, rule: str, got: object = None, remedy: str = "") -> "MagpieError":
        """Return the error worded in the house form; `got` None leaves that part out."""
        text = f"{where}: {rule}"
        if got is not None:
            text += f", got {got!r}" if isinstance(got, str) else f", got {got}"
        if remedy:
            text += f"; {remedy}"
        return cls(printable(text))


class ConfigError(MagpieError):
    """A configuration or command line breaks a rule."""

    exit_code = 2


class CatalogError(MagpieError):
    """A catalog is missing, empty, damaged, or was built with other weights."""

    exit_code = 2


class NotInCatalogError(CatalogError):
    """No such catalog, item, picture or generation."""


class CatalogExistsError(CatalogError):
    """A catalog of that name is there already."""


class CatalogLockedError(CatalogError):
    """Another command is writing the catalog."""


class CatalogChangedError(CatalogError):
    """Another generation is in use than the one that the caller has seen."""


class WeightsError(MagpieError):
    """Weights are missing, damaged, or not what was asked for."""

    exit_code = 2


class EngineError(MagpieError):
    """An engine or device was asked for and is not there."""


class SourceError(MagpieError):
    """A stream cannot be opened or read.

    heals: whether the same stream may well work a second later, with nothing done about it.
    """

    heals: ClassVar[bool] = True


class WorkerError(MagpieError):
    """A process could not be started or kept alive."""
