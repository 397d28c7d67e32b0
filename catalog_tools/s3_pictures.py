"""Pictures in buckets that the configuration names, by fsspec and s3fs (the extra `s3`)."""

from __future__ import annotations

import time
from typing import Any

from catalog_tools.fetch_options import FetchOptions
from catalog_tools.reading import PictureError


def read_from_bucket(address: str, options: FetchOptions, deadline_s: float) -> bytes:
    """Return the object that an s3:// address names; PictureError says why there is none."""
    bucket, _, key = address[len("s3://") :].partition("/")
    if bucket not in options.buckets:
        raise PictureError("lies in a bucket that query.fetch.buckets does not list")
    if not key:
        raise PictureError("names no object of its bucket")
    store = _open(options)
    try:
        path = f"{bucket}/{key}"
        size_bytes = _ask(deadline_s, store, store._info, path).get("size") or 0
        if size_bytes > options.max_bytes:
            raise PictureError(f"has more than {options.max_bytes / 1e6:g} MB")
        if size_bytes == 0:
            raise PictureError("is empty")
        return bytes(_ask(deadline_s, store, store._cat_file, path, start=0, end=size_bytes))
    except FileNotFoundError:
        raise PictureError("is not in its bucket") from None
    except PermissionError:
        raise PictureError("is refused by its store: who asks may not read it") from None
    except PictureError:
        raise
    except Exception as error:  # botocore and aiohttp have dozens, without a common ancestor
        if "Timeout" in type(error).__name__:
            raise PictureError(f"took longer than {options.timeout_s:g} s") from None
        raise PictureError(f"can't be had from its store ({type(error).__name__})") from None


def _open(options: FetchOptions) -> Any:
    try:
        import s3fs
    except ImportError:
        raise PictureError("needs the extra `s3`: pip install s3fs") from None
    return s3fs.S3FileSystem(
        endpoint_url=options.s3_endpoint,
        config_kwargs={
            "connect_timeout": options.timeout_s,
            "read_timeout": options.timeout_s,
            "retries": {"max_attempts": 1},
        },
        use_listings_cache=False,
        default_fill_cache=False,
    )


def _ask(deadline_s: float, store: Any, question: Any, path: str, **more: Any) -> Any:
    from fsspec.asyn import sync

    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return sync(store.loop, question, path, timeout=left_s, **more)
