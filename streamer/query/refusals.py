"""Errors as refusals that go over a socket, and back. Light."""

from __future__ import annotations

from pipeline.errors import (
    CatalogChangedError,
    CatalogError,
    CatalogExistsError,
    CatalogLockedError,
    ConfigError,
    MagpieError,
    NotInCatalogError,
)
from streamer.query.requests import Refusal, Status
from streamer.redaction import redact

_STATUSES: tuple[tuple[type[MagpieError], Status], ...] = (
    (NotInCatalogError, "missing"),
    (CatalogLockedError, "conflict"),
    (CatalogExistsError, "conflict"),
    (CatalogChangedError, "changed"),
    (CatalogError, "invalid"),
    (ConfigError, "invalid"),
)


class QueryRefusedError(MagpieError):
    """The query worker has refused something; carries the refusal."""

    exit_code = 2

    def __init__(self, refusal: Refusal) -> None:
        got = "" if refusal.got is None else f", got {refusal.got}"
        remedy = f"; {refusal.remedy}" if refusal.remedy else ""
        super().__init__(f"{refusal.where}: {refusal.rule}{got}{remedy}")
        self.refusal = refusal


def refused(
    status: Status,
    where: str,
    rule: str,
    got: str | None = None,
    remedy: str = "",
    retry_after_s: int | None = None,
) -> QueryRefusedError:
    """Return the error to raise for what is refused."""
    refusal = Refusal(
        status=status, where=where, rule=rule, got=got, remedy=remedy, retry_after_s=retry_after_s
    )
    return QueryRefusedError(refusal)


def refusal_of(error: MagpieError) -> Refusal:
    """Return an error as a refusal: its sentence in its parts."""
    if isinstance(error, QueryRefusedError):
        return error.refusal
    status: Status = next((s for kind, s in _STATUSES if isinstance(error, kind)), "broken")
    where, _, rest = redact(str(error)).partition(": ")
    rule, _, remedy = rest.partition("; ")
    rule, _, got = rule.partition(", got ")
    return Refusal(status=status, where=where, rule=rule or where, got=got or None, remedy=remedy)
