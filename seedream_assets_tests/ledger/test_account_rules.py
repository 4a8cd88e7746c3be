"""Claims about what a store says of its account."""

import pytest

from seedream_assets.errors import ObjectUnreadable
from seedream_assets.ledger.account import StoreAccount, decode_account

PRODUCTION = "https://cloud.leonardo.ai/api/rest"


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        (PRODUCTION, "https://cloud.leonardo.ai"),
        ("https://CLOUD.leonardo.ai/api/rest/", "https://cloud.leonardo.ai"),
        ("https://gateway.example:8443/leonardo", "https://gateway.example:8443"),
        ("http://127.0.0.1:4711/api/rest", "http://127.0.0.1"),
        ("http://localhost:80", "http://127.0.0.1"),
        ("http://[::1]:5", "http://127.0.0.1"),
    ],
)
def test_an_origin_is_scheme_and_host_and_on_this_machine_no_port(address, origin):
    assert StoreAccount.of("a", address).origin == origin


def test_what_is_written_is_read_again():
    account = StoreAccount.of("a", PRODUCTION)
    assert decode_account(account.encode(), "account.json") == account


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"account": 3, "origin": "x"}', b'{"account": "a"}'])
def test_what_is_none_of_this_kind_is_refused(body):
    with pytest.raises(ObjectUnreadable, match="account.json does not say whose account"):
        decode_account(body, "account.json")


def test_each_address_of_an_account_has_an_object_of_its_own():
    first, second = StoreAccount.of("a", PRODUCTION), StoreAccount.of("a", "https://gateway.example")
    assert first.origin_key != second.origin_key
    assert first.origin_key == StoreAccount.of("b", PRODUCTION).origin_key
