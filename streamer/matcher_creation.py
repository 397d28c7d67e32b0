"""A matcher process's matcher, once its catalogs can be loaded."""

from collections.abc import Callable

from pipeline.errors import CatalogError
from streamer.child import ChildContext, WorkerState
from streamer.frame_matcher import FrameMatcher
from streamer.matcher_args import MatcherArgs

CATALOG_TRY_AGAIN_S = 1.0


def create_patiently(
    context: ChildContext, args: MatcherArgs, create: Callable[..., FrameMatcher]
) -> tuple[FrameMatcher, MatcherArgs] | None:
    """Return the matcher and the args that it was made of, or None when asked to stop.

    At the first start a catalog that cannot be loaded is a mistake to be told at once. A matcher
    that is started again waits for it: it may just be being replaced, or its camera be removed.
    """
    while True:
        try:
            catalogs = {feed.name: feed.catalog for feed in args.feeds}
            regions = {feed.name: feed.regions for feed in args.feeds if feed.regions}
            return create(args.options, catalogs, regions), args
        except CatalogError as error:
            if context.incarnation <= 1:
                raise
            context.report(WorkerState.STARTING, f"waiting for its catalog: {error}")
            if context.wait(CATALOG_TRY_AGAIN_S):
                return None
            if isinstance(told := context.told(), MatcherArgs):
                args = told
