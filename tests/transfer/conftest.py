"""A place in a real store, and a proxy before it."""

from collections.abc import Iterator

import pytest

from tests.transfer.folders import Proxy


@pytest.fixture
def base(s3_bucket: str) -> str:
    return f"s3://{s3_bucket}/datasets"


@pytest.fixture
def proxy(s3_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The store's endpoint, from here on."""
    with Proxy(s3_environment) as proxy:
        monkeypatch.setenv("S3_ENDPOINT", proxy.url)
        yield proxy
