"""What one batch of frames goes through; no processes, sockets or YAML."""

import pipeline.offline  # noqa: F401  (before any module of this package imports a heavy library)
