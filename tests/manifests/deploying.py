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
KUBECTL = """#!{python}
import os, sys
os.execv(*({shell} if "exec" in sys.argv else ("{kubectl}", ["kubectl", *sys.argv[1:]])))
"""
"""kubectl, but for what it would run in a pod of KFP's store, which a server of the same kind answers."""
Deploy = Callable[..., subprocess.CompletedProcess[str]]


def lead_to(store: SeaweedFS, tool: Path) -> None:
    """Has the script's kubectl, `tool`, run an administrator's commands in `store`."""
    shell, real = store.shell, Path(sys.executable).with_name("kubectl")
    tool.write_text(KUBECTL.format(python=sys.executable, shell=(shell[0], shell), kubectl=real))
    tool.chmod(0o755)


def settings_of(overlay: str) -> str:
    return f"--settings manifests/overlays/{overlay}/settings.env"


def change_setting(checkout: Path, overlay: str, key: str, value: str) -> None:
    file = checkout / "manifests/overlays" / overlay / "settings.env"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(f"{key}={value}" if line.startswith(f"{key}=") else line for line in lines))


def steps_of(writes: list[str]) -> list[str]:
    """What was done, in order; a whole overlay and the launcher's ConfigMap are applied in one step."""
    steps = [
        "apply" if write.startswith("PATCH") or write.endswith("/configmaps/kfp-launcher") else write
        for write in writes
    ]
    return [
        step for step, before in zip(steps, ["", *steps], strict=False) if step != "apply" or step != before
    ]


def keys_of(api_server: Any, namespace: str, name: str) -> Mapping[str, str]:
    data = api_server.objects[f"api/v1/namespaces/{namespace}/secrets/{name}"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
