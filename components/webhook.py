"""Messages of a run to a webhook, by HTTP, whose outcome never touches the task that sends them.

The URL is a secret, since whoever has it can post: nothing but its host is ever said.
"""

import contextlib
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from datum.errors import one_line, shortened, status_may_pass
from datum.stopping import Stopped, stoppable
from datum.telemetry import log

WEBHOOK = "DATUM_WEBHOOK"
"""Environment variable with the URL that messages are posted to; none are where it is not set."""

TRIES, TIMEOUT = 3, 9.0
"""Tries of a message, with pauses of one and two seconds, and the seconds that each may take."""

LONGEST = 30.0
"""Seconds that a task waits for the webhook at most, also where names are looked up in vain."""


def tell(compose: Callable[[], Mapping[str, Any]]) -> None:
    """Posts the message that `compose` makes as JSON, if a webhook is set, and says in the log how that went.

    Nothing is raised: not for a webhook that does not answer, nor for a stop meanwhile, nor by `compose`.
    """
    url = os.environ.get(WEBHOOK, "").strip()
    if not url:
        return
    with contextlib.suppress(Stopped), stoppable():
        try:
            log(f"webhook: {_told(url, compose)}")
        except Exception as error:
            log(f"webhook: not told, for there is no message ({type(error).__name__})")


def _told(url: str, compose: Callable[[], Mapping[str, Any]]) -> str:
    """What came of the message."""
    host = _host(url)
    if not host:
        return "not told, since its secret holds no URL that begins with http:// or https://"
    body = json.dumps(compose()).encode()
    faults: list[str] = []
    # A daemon: looking a name up has no time-out of its own, and the process may end before it has.
    thread = threading.Thread(target=lambda: faults.append(_post(url, body)), daemon=True)
    thread.start()
    thread.join(LONGEST)
    fault = faults[0] if faults else "does not answer"
    return f"{host} {fault}, so it was not told" if fault else f"{host} was told"


def _host(url: str) -> str:
    """The host of a URL of HTTP or HTTPS; nothing where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return shortened(one_line(parts.hostname or "")) if parts.scheme in ("http", "https") else ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect may lead to another host, and would drop the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: bytes) -> str:
    """What kept the message from being taken; nothing where it was."""
    opener = urllib.request.build_opener(_NoRedirects)
    headers = {"Content-Type": "application/json", "User-Agent": "datum"}
    fault = ""
    for failed in range(TRIES):
        time.sleep(failed)
        try:
            request = urllib.request.Request(url, body, headers, method="POST")
            with opener.open(request, timeout=TIMEOUT):
                return ""
        except urllib.error.HTTPError as error:
            fault = f"answers {error.code}"
            if not status_may_pass(error.code):
                break
        except Exception as error:
            # Its text may hold the URL.
            fault = f"does not answer ({type(getattr(error, 'reason', error)).__name__})"
    return fault
