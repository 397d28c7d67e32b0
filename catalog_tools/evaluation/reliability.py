"""The reliability diagram of a calibration."""

from __future__ import annotations

from pathlib import Path

from catalog_tools.evaluation.calibrate import CalibrationReport
from pipeline.picture_file import write_figure


def draw_reliability(report: CalibrationReport, path: Path) -> None:
    """Write what was right against the probability that was told; n at each point.

    A PNG, SVG or PDF by the path; ConfigError when it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 4))
    axis.plot([0, 1], [0, 1], "k:", linewidth=1)
    axis.plot([p for p, _, _ in report.reliability], [r for _, r, _ in report.reliability], "o-")
    for probability, right, count in report.reliability:
        axis.annotate(str(count), (probability, right), fontsize=7)
    axis.set_xlabel("probability told")
    axis.set_ylabel("share right")
    figure.tight_layout()
    write_figure(path, figure, "--plot")
    pyplot.close(figure)
