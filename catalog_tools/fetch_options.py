"""What addresses of pictures may lead to. Light."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict, Field, field_validator


class FetchOptions(BaseModel):
    """Pictures that are named by an address and fetched from there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: tuple[str, ...] = Field(
        (), description="networks beside the public ones that they may lie in, as 10.0.0.0/8"
    )
    http: bool = Field(False, description="http:// too, which others can read and change")
    buckets: tuple[str, ...] = Field(
        (), description="of s3:// addresses; who may read them the environment says, as AWS has it"
    )
    s3_endpoint: str | None = Field(
        None, description="https:// address of a store that speaks S3; none: Amazon's"
    )
    max_bytes: int = Field(50_000_000, ge=1000, le=500_000_000, description="of one picture")
    timeout_s: float = Field(20.0, gt=0, le=600, description="for one picture, redirects included")
    redirects: int = Field(5, ge=0, le=20, description="followed, each checked as the first one")

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"expected a network as 10.0.0.0/8, got {network!r}") from None
        return networks
