"""The cluster of the current kube context, used as its users do: through make, datum and kubectl."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipelines.compile import SHARDS

Found = TypeVar("Found")

ROOT = Path(__file__).resolve().parents[2]
DATUM = ROOT / ".venv" / "bin" / "datum"
SMALL = {
    "datasets.source_scenes": 40,
    "datasets.target_train_scenes": 4,
    "datasets.target_val_scenes": 8,
    "personalization.steps": 8,
    "personalization.checkpoint_every": 4,
    "generation.checkpoint_step": 4,
    "generation.count": 12,
    "generation.inference_steps": 2,
    "adaptation.iterations": 240,
    "adaptation.validate_every": 240,
    "adaptation.save_every": 20,
    "adaptation.workers": 1,
}
"""The demo profile with fewer of everything; the training is long enough to be disturbed in its middle."""
COMPILED = {"profile": "demo", "seeds": "[1]", "experiment": "datum-tests"}
"""Settings that the tests' pipelines are compiled and run with, besides those of the overlay."""
ON_THIS_MACHINE = {**SMALL, "run.seeds": COMPILED["seeds"], "run.shards": SHARDS["demo"]}
"""The same for `datum run`; as many shards, since what is drawn together is the same up to rounding alone."""
POLL_SECONDS = 3.0
RUN_SECONDS = 3600.0
"""The longest that a run may take; a small one takes some four minutes on two processors."""
OF_OTHERS = "app.kubernetes.io/part-of!=datum"
COMING_AND_GOING = frozenset(
    {
        *("events", "events.events.k8s.io", "pods", "endpoints", "endpointslices.discovery.k8s.io"),
        *("leases.coordination.k8s.io", "workflows.argoproj.io", "workflowtaskresults.argoproj.io"),
        *("pods.metrics.k8s.io", "replicasets.apps", "controllerrevisions.apps"),
    }
)
"""Kinds of objects that controllers make, change and remove while nobody asks them to."""


class LiveCluster:
    """An installation of `overlay`; what commands write goes to below `folder`."""

    def __init__(self, overlay: str, folder: Path) -> None:
        self.overlay, self.folder = overlay, folder
        self.settings = ROOT / "manifests" / "overlays" / overlay / "settings.env"
        self.namespace, self.kfp_namespace = self.setting("NAMESPACE"), self.setting("KFP_NAMESPACE")
        self.disturbed: set[str] = set()
        """Objects of KFP that a fault of the tests has changed, as `objects_of_others` names them."""

    def setting(self, key: str) -> str:
        return _output([str(ROOT / "manifests" / "setting.sh"), str(self.settings), key]).strip()

    def kubectl(self, *arguments: str, namespace: str = "", stdin: str | None = None) -> str:
        return _output(["kubectl", "-n", namespace or self.namespace, *arguments], stdin=stdin)

    def make(self, target: str) -> str:
        return _output(["make", target, f"OVERLAY={self.overlay}", "SKIP_IMAGES=1"])

    def datum(self, *arguments: str, status: int | None = 0) -> str:
        """What a command prints on both streams; it has to end with `status` (None: with any)."""
        return _output(self._command(*arguments), status=status)

    def _command(self, name: str, *arguments: str) -> list[str]:
        """The command `name` of datum, with the settings of the tests."""
        chosen = [f"--set={key}={value}" for key, value in COMPILED.items()]
        return [str(DATUM), name, "--settings", str(self.settings), *chosen, *arguments]

    def submit(self, pipeline: str = "reproduction", *options: str, **overrides: Any) -> str:
        """Starts a small run; returns its id."""
        wanted = [f"{name}={value}" for name, value in {**SMALL, **overrides}.items()]
        said = self.datum("submit", pipeline, f"--param=run_overrides={json.dumps(wanted)}", *options)
        found = re.search(r"^([0-9a-f-]{36})  http", said, re.MULTILINE)
        assert found, said
        return found[1]

    def finish(self, run_id: str, *, status: int | None = 0) -> str:
        """Waits until the run ends; returns what `datum runs` has shown of it."""
        return self.datum("runs", run_id, status=status)

    def figures(self, run_id: str) -> dict[str, Any]:
        """Waits until the run ends; returns the figures of its report that do not tell of time and place."""
        output = self.folder / run_id
        self.datum("runs", run_id, "--output", str(output))
        return report_figures(output)

    def log(self, run_id: str, task: str) -> str:
        """What a task has written so far, all tries; empty where it has not begun."""
        command = self._command("runs", run_id, "--logs", task)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    def reach(self, run_id: str, task: str, line: str) -> re.Match[str]:
        """Follows a task until it writes a line that the expression `line` matches."""
        command = self._command("runs", run_id, "--logs", task, "--follow")
        end = time.monotonic() + RUN_SECONDS
        while time.monotonic() < end:
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
                for text in process.stdout or ():
                    if found := re.search(line, text):
                        process.kill()
                        return found
            assert process.returncode, f"{task} has ended without a line like {line!r}"
            time.sleep(POLL_SECONDS)  # a stream may break
        raise AssertionError(f"not within {RUN_SECONDS:.0f} s: a line of {task} like {line!r}")

    def pods(self, run_id: str, component: str = "") -> list[dict[str, Any]]:
        """The pods of our tasks of a run, of one of our `component` labels if named; no drivers."""
        labels = [f"pipeline/runid={run_id}", "app.kubernetes.io/part-of=datum"]
        if component:
            labels.append(f"app.kubernetes.io/component={component}")
        found = json.loads(self.kubectl("get", "pods", "--selector", ",".join(labels), "-o", "json"))
        return list(found["items"])

    def running_pod(self, run_id: str, component: str) -> dict[str, Any]:
        """The pod at work of the one task of a run whose image is `component`'s."""
        (pod,) = [pod for pod in self.pods(run_id, component) if pod["status"]["phase"] == "Running"]
        return pod

    def scale(self, name: str, count: int) -> None:
        """Sets how many pods KFP's deployment `name` has, and waits until it is so."""
        self.disturbed.add(f"{self.kfp_namespace}/Deployment/{name}")
        self.kubectl("scale", f"deployment/{name}", f"--replicas={count}", namespace=self.kfp_namespace)
        if count:
            self.rolled_out(name)
        else:
            wait_for(f"{name} is gone", lambda: self._available(name) == 0)

    def restart(self, name: str) -> None:
        self.disturbed.add(f"{self.kfp_namespace}/Deployment/{name}")
        self.kubectl("rollout", "restart", f"deployment/{name}", namespace=self.kfp_namespace)
        self.rolled_out(name)

    def rolled_out(self, name: str) -> None:
        status = ("rollout", "status", f"deployment/{name}", "--timeout=10m")
        self.kubectl(*status, namespace=self.kfp_namespace)

    def _available(self, name: str) -> int:
        wanted = ("get", "deployment", name, "-o", "jsonpath={.status.availableReplicas}")
        return int(self.kubectl(*wanted, namespace=self.kfp_namespace) or 0)

    def objects_of_others(self) -> dict[str, Any]:
        """Every object in our namespaces that is not ours, managed fields and all, by kind and name; without
        what changes by itself."""
        found = {}
        for namespace in sorted({self.namespace, self.kfp_namespace}):
            space = json.loads(self.kubectl("get", "namespace", namespace, "-o", "json"))
            found[f"namespace/{namespace}"] = _lasting(space)
            listed = self.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
            kinds = ",".join(kind for kind in listed if kind not in COMING_AND_GOING)
            shown = self.kubectl(
                *("get", kinds, "--selector", OF_OTHERS, "--show-managed-fields", "-o", "json"),
                namespace=namespace,
            )
            for item in json.loads(shown)["items"]:
                found[f"{namespace}/{item['kind']}/{item['metadata']['name']}"] = _lasting(item)
        return found


def _lasting(item: dict[str, Any]) -> dict[str, Any]:
    """An object without its status and its version."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "resourceVersion"}
    fields = metadata.get("managedFields", ())
    metadata["managedFields"] = [field for field in fields if field.get("subresource") != "status"]
    return {**{name: value for name, value in item.items() if name != "status"}, "metadata": metadata}


def report_figures(folder: Path) -> dict[str, Any]:
    """The figures of a report by method: mIoU and IoU of each class, over the seeds and of each; and the
    median checkpoint with its digest."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for method in report["methods"]:
        for seed in method["seeds"]:
            del seed["folder"]  # where the run lies, which is no figure
    figures = {method["name"]: method for method in report["methods"]}
    return {**figures, "median checkpoint": report["median_checkpoint"]}


def wait_for(what: str, look: Callable[[], Found], *, seconds: float = RUN_SECONDS) -> Found:
    """What `look` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(POLL_SECONDS)
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any], but: Iterable[str] = ()) -> list[str]:
    """Names of the objects that differ, except those named in `but`."""
    names = (before.keys() | after.keys()) - set(but)
    return sorted(name for name in names if before.get(name) != after.get(name))


def _output(command: list[str], *, stdin: str | None = None, status: int | None = 0) -> str:
    """What a command prints, both streams if it is ours; it has to end with `status` (None: with any)."""
    ours = command[0] in ("make", str(DATUM))
    done = subprocess.run(
        command,
        cwd=ROOT,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if ours else subprocess.PIPE,
        text=True,
        check=False,
    )
    assert status in (None, done.returncode), (
        f"{command}: ended with {done.returncode}\n{done.stdout}{done.stderr or ''}"
    )
    return done.stdout
