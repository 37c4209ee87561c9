"""What several tests of the components use."""

import threading
from collections.abc import Iterator

import pytest

from tests.components.webhook_server import Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.ends.set()
        server.shutdown()
        thread.join()
