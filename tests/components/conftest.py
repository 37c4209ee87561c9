"""What several tests of the components use."""

from collections.abc import Iterator

import pytest

from tests.components.webhook_server import Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server
        server.ends.set()
