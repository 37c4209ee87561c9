"""`manifests/deploy.sh` in a copy of what it reads: kubectl itself talks to a server, and `datum` writes the
manifests; its other commands, make and kind only tell that they ran."""

import base64
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import SeaweedFS

ROOT = Path(__file__).parents[2]
RECORDER = """#!{python}
import os, pathlib, sys, urllib.request
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
if "manifests" in words:
    from datum.cli import main
    sys.exit(main())
urllib.request.urlopen("{url}/record", data=" ".join(words).encode())
sys.exit(int(os.environ.get("DOCTOR", 0)) if "doctor" in words else 0)
"""
KUBECTL = Path(sys.executable).with_name("kubectl")
LED_KUBECTL = """#!{python}
import os, sys
os.execv(*({shell} if "exec" in sys.argv else ("{kubectl}", ["kubectl", *sys.argv[1:]])))
"""
"""kubectl, but for what it would run in a pod of KFP's store, which a server of the same kind answers."""
Deploy = Callable[..., subprocess.CompletedProcess[str]]


def lead_to(store: SeaweedFS, tool: Path) -> None:
    """Has the script's kubectl, `tool`, run an administrator's commands in `store`."""
    shell = store.shell
    tool.write_text(LED_KUBECTL.format(python=sys.executable, shell=(shell[0], shell), kubectl=KUBECTL))
    tool.chmod(0o755)


def keys_of(api_server: Any, namespace: str, name: str) -> Mapping[str, str]:
    data = api_server.objects[f"api/v1/namespaces/{namespace}/secrets/{name}"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
