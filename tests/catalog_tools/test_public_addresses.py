"""Which addresses a picture may be fetched from."""

import pytest
from pydantic import ValidationError

from catalog_tools.fetch_options import FetchOptions
from catalog_tools.public_addresses import is_allowed


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
        ("no address", False),
    ],
)
def test_which_addresses_are_public(address: str, allowed: bool) -> None:
    assert is_allowed(address, ()) is allowed


def test_listed_networks() -> None:
    assert is_allowed("10.1.2.3", ("10.0.0.0/8",)) and is_allowed(
        "::ffff:10.0.0.1", ("10.0.0.0/8",)
    )
    assert not is_allowed("10.1.2.3", ("fd00::/8", "192.168.0.0/16"))
    with pytest.raises(ValidationError, match=r"expected a network as 10.0.0.0/8, got 'intranet'"):
        FetchOptions(networks=("intranet",))
