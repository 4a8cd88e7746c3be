"""Claims about the times in S3's answers: read quickly where they are all of one form, and never otherwise than boto3 reads."""

import pytest
from botocore.utils import parse_timestamp

from seedream_assets.storage.s3_client import parse_time


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-24T12:00:00.000Z",
        "2026-11-24T12:00:00Z",
        "2026-11-24T13:00:00.123456+01:00",
        "Tue, 24 Nov 2026 12:00:00 GMT",
        "20261124T120000Z",
        "1795521600",
        1795521600,
        1795521600.5,
    ],
    ids=str,
)
def test_a_time_is_read_as_boto3_reads_it(told):
    assert parse_time(told) == parse_timestamp(told)
    assert parse_time(told).tzinfo is not None


@pytest.mark.parametrize("told", ["", "noon", None], ids=repr)
def test_what_is_no_time_is_refused(told):
    with pytest.raises(ValueError, match="Invalid timestamp"):
        parse_time(told)
