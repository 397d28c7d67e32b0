"""A matcher process's matcher, once its catalogs can be loaded."""

from collections.abc import Callable, Mapping

from pipeline.errors import CatalogError
from pipeline.options import Regions
from streamer.child import ChildContext, WorkerState
from streamer.frame_matcher import FrameMatcher
from streamer.matcher_args import MatcherArgs

CATALOG_TRY_AGAIN_S = 1.0


def create_patiently(
    context: ChildContext,
    args: MatcherArgs,
    create: Callable[..., FrameMatcher],
    regions: Mapping[str, Regions],
) -> FrameMatcher | None:
    """Return the matcher, or None when asked to stop.

    At the first start a catalog that cannot be loaded is a mistake to be told at once. A matcher
    that is started again waits for it: it may just be being replaced.
    """
    while True:
        try:
            return create(args.options, {feed.name: feed.catalog for feed in args.feeds}, regions)
        except CatalogError as error:
            if context.incarnation <= 1:
                raise
            context.report(WorkerState.STARTING, f"waiting for its catalog: {error}")
            if context.wait(CATALOG_TRY_AGAIN_S):
                return None
