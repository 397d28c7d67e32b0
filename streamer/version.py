"""Which version of Magpie this is."""

from importlib import metadata


def version() -> str:
    """Return the version of what is installed; `unknown` in a copy that is not."""
    try:
        return metadata.version("magpie")
    except metadata.PackageNotFoundError:
        return "unknown"
