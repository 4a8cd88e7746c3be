"""What S3's servers and libraries say is reported without what lets somebody in."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from seedream_assets.errors import StoreRefused, StoreUnavailable
from seedream_assets.storage.s3 import s3_error

TOKEN = "FwoGZXIvYXdzE" * 20


@pytest.mark.parametrize(
    "answer",
    [
        {"Error": {"Code": "Odd", "Message": f"the header x-amz-security-token {TOKEN} is odd"}},
        {"Error": {"Code": "Odd", "Message": f"GET https://b.example/k?X-Amz-Signature=SECRET&t={TOKEN}\n\x1b[2J"}},
        {"Error": {"Code": f"Odd X-Amz-Credential=SECRET/{TOKEN}", "Message": "said"}},
        {"Error": {"Code": "Odd"}, "ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": f"sig=SECRET {TOKEN}"}},
    ],
)
def test_a_server_that_repeats_what_was_sent_is_shown_without_it(answer: dict[str, Any]) -> None:
    error = s3_error(ClientError(answer, "GetObject"), doing="read", uri="s3://b/k")
    assert isinstance(error, StoreRefused)
    assert str(error).startswith("cannot read s3://b/k: HTTP ")
    for secret in ("SECRET", TOKEN[:60], "\n", "\x1b"):
        assert secret not in str(error)


def test_a_password_in_an_endpoint_s_address_is_not_shown() -> None:
    error = s3_error(
        EndpointConnectionError(endpoint_url="https://me:SECRET@s3.example/?sig=SECRET"), doing="list", uri="s"
    )
    assert isinstance(error, StoreUnavailable)
    assert "https://s3.example" in str(error)
    assert "SECRET" not in str(error)
