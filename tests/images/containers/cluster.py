"""Runs a compiled pipeline in its images, playing the parts of KFP's driver, launcher and Argo.

Every task is a container under what a cluster would hold it to: the image's own user, a read-only root, no
capabilities, no new privileges, its memory limit, writable folders only where the pipeline or KFP mounts an
emptyDir, and no network unless it is given the store's secret. What the driver and the launcher of KFP 2.17
do is read from their source (backend/src/v2/driver, backend/src/v2/component).
"""

import dataclasses
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import yaml

KFP_EMPTY_DIRS = ("/minio", "/s3", "/gcs", "/.local", "/.cache", "/.config")
"""Folders that KFP's Argo compiler mounts an emptyDir at in every executor's pod."""
OUTPUT_PARAMETERS = "/tmp/kfp/outputs"
"""Where the driver has a task write its output parameters."""
OUTPUT_FILE = "output_metadata.json"
"""The executor's output, beside the task's artifacts."""
LOGGED = ("system.Metrics", "system.ClassificationMetrics")
"""Artifacts whose content travels in that output, not as a file."""
LINES = 40
"""Last lines of a failing container that are shown."""


class ArtifactStore(Protocol):
    """How artifacts get from task to task, as files below a task's /minio."""

    @contextmanager
    def of_task(self, inputs: list[str]) -> Iterator[Path]:
        """Yields the folder to mount at /minio, with the `inputs`, paths below it; keeps what is added."""
        yield Path()


@dataclasses.dataclass
class Task:
    """A task that has run."""

    name: str
    image: str
    seconds: float
    parameters: dict[str, Any]
    """Output parameter -> value."""
    artifacts: dict[str, dict[str, Any]]
    """Output artifact -> KFP's RuntimeArtifact."""


class FolderArtifacts:
    """Artifacts stay in one folder that every task sees, as on a shared volume."""

    def __init__(self, folder: Path) -> None:
        self.folder = _empty_dir(folder)

    @contextmanager
    def of_task(self, inputs: list[str]) -> Iterator[Path]:
        yield self.folder


class StoredArtifacts:
    """Artifacts lie in an S3 bucket; every task gets a fresh folder, as KFP's launcher does it."""

    def __init__(self, client: Any, folder: Path) -> None:
        self._client, self._folder, self._count = client, folder, 0

    @contextmanager
    def of_task(self, inputs: list[str]) -> Iterator[Path]:
        self._count += 1
        folder = _empty_dir(self._folder / str(self._count))
        for path in inputs:
            self._download(path, folder)
        before = {file for file in folder.rglob("*") if file.is_file()}
        yield folder
        for file in sorted(file for file in folder.rglob("*") if file.is_file() and file not in before):
            bucket, _, key = file.relative_to(folder).as_posix().partition("/")
            self._client.fput_object(bucket, key, str(file))

    def _download(self, path: str, folder: Path) -> None:
        bucket, _, key = path.partition("/")
        objects = list(self._client.list_objects(bucket, prefix=key, recursive=True))
        names = [item.object_name for item in objects]
        wanted = [name for name in names if name == key or name.startswith(f"{key}/")]
        assert wanted, f"s3://{path}: no such artifact in the store"
        for name in wanted:
            self._client.fget_object(bucket, name, str(folder / bucket / name))


@dataclasses.dataclass(kw_only=True)
class Cluster:
    """What a run of a pipeline meets on a cluster."""

    artifacts: ArtifactStore
    folder: Path
    """Where the tasks' emptyDirs are kept."""
    secrets: Mapping[str, Mapping[str, str]]
    """Name -> key -> value."""
    volumes: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    """Mount path -> folder that all tasks share."""
    run_id: str = "7d7b9a2e-run"
    bucket: str = "mlpipeline"

    def run(self, pipeline: Path, arguments: Mapping[str, Any]) -> dict[str, Task]:
        """Display name -> task, of all tasks, run one after the other in the order of the DAG."""
        specification, platform = yaml.safe_load_all(pipeline.read_text(encoding="utf-8"))
        inputs = specification["root"]["inputDefinitions"]["parameters"]
        values = {name: given.get("defaultValue") for name, given in inputs.items()} | dict(arguments)
        assert not set(arguments) - set(inputs), f"no parameters: {set(arguments) - set(inputs)}"
        waiting = dict(specification["root"]["dag"]["tasks"])
        done: dict[str, Task] = {}
        while waiting:
            name = next(
                key for key, task in waiting.items() if done.keys() >= {*task.get("dependentTasks", ())}
            )
            done[name] = self._run_task(name, waiting.pop(name), specification, platform, values, done)
        return {task.name: task for task in done.values()}

    def _run_task(
        self,
        name: str,
        task: Mapping[str, Any],
        specification: Mapping[str, Any],
        platform: Mapping[str, Any],
        arguments: Mapping[str, Any],
        done: Mapping[str, Task],
    ) -> Task:
        component = specification["components"][task["componentRef"]["name"]]
        label = component["executorLabel"]
        container = specification["deploymentSpec"]["executors"][label]["container"]
        kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].get(label, {})
        parameters = _parameters(task, component, arguments, done)
        inputs = _input_artifacts(task, done)
        root = f"{self.bucket}/v2/artifacts/{specification['pipelineInfo']['name']}/{self.run_id}/{name}"
        executor_input = {
            "inputs": {"parameterValues": parameters, "artifacts": inputs},
            "outputs": _outputs(component, root),
        }
        command = [
            json.dumps(executor_input) if word == "{{$}}" else word
            for word in [*container["command"], *container["args"]]
        ]
        empty_dirs = {path: _empty_dir(self.folder / name / path.strip("/")) for path in KFP_EMPTY_DIRS[1:]}
        for mount in kubernetes.get("emptyDirMounts", ()):
            if mount.get("medium") != "Memory":
                path = mount["mountPath"]
                empty_dirs[path] = _empty_dir(self.folder / name / path.strip("/"))
        # As the launcher does; the emptyDirs, and all that it makes in them, are the task's user's own.
        _empty_dir(empty_dirs["/tmp"] / OUTPUT_PARAMETERS.removeprefix("/tmp/"))
        paths = [_path(artifact["artifacts"][0]["uri"]) for artifact in inputs.values()]
        image = str(_resolved(container["image"], parameters))
        started = time.monotonic()
        with self.artifacts.of_task(paths) as minio:
            _empty_dir(minio / root)
            mounts = {"/minio": minio, **empty_dirs, **self.volumes}
            words = [*_limits(container, kubernetes, parameters), image, *command]
            self._podman(task["taskInfo"]["name"], words, mounts, self._environment(kubernetes))
            missing = [
                key
                for key, artifact in executor_input["outputs"]["artifacts"].items()
                if not (minio / _path(artifact["artifacts"][0]["uri"])).exists()
                and artifact["artifacts"][0]["type"]["schemaTitle"] not in LOGGED
            ]
            assert not missing, f"{name}: wrote no {missing}"
            # Where a Python component's executor leaves what it returned; absent if it returned nothing.
            output = minio / root / OUTPUT_FILE
            written = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
        return Task(
            name=task["taskInfo"]["name"],
            image=image,
            seconds=time.monotonic() - started,
            parameters=written.get("parameterValues", {}),
            artifacts=executor_input["outputs"]["artifacts"],
        )

    def _environment(self, kubernetes: Mapping[str, Any]) -> dict[str, str]:
        found = {field["name"]: self.run_id for field in kubernetes.get("fieldPathAsEnv", ())}
        for secret in kubernetes.get("secretAsEnv", ()):
            name = secret["secretName"]
            assert name in self.secrets or secret.get("optional"), f"no secret {name}"
            for key in secret["keyToEnv"]:
                if name in self.secrets:
                    found[key["envVar"]] = self.secrets[name][key["secretKey"]]
        return found

    @staticmethod
    def _podman(task: str, words: list[str], mounts: Mapping[str, Path], environment: dict[str, str]) -> None:
        volumes = [word for path, folder in mounts.items() for word in ("--volume", f"{folder}:{path}")]
        # Values by podman's own environment, not on its command line.
        names = [word for name in (*environment, "OMP_NUM_THREADS") for word in ("--env", name)]
        ended = subprocess.run(
            ["podman", "run", "--rm", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL"]
            + ["--security-opt", "no-new-privileges", *volumes, *names, *words],
            env={**os.environ, **environment, "OMP_NUM_THREADS": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if ended.returncode:
            last = "\n".join(ended.stdout.splitlines()[-LINES:])
            raise AssertionError(f"{task}: ended with status {ended.returncode} in its image:\n{last}")


def _parameters(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    arguments: Mapping[str, Any],
    done: Mapping[str, Task],
) -> dict[str, Any]:
    """The task's input parameters, as the driver resolves them."""
    defined = component.get("inputDefinitions", {}).get("parameters", {})
    found = {name: given["defaultValue"] for name, given in defined.items() if "defaultValue" in given}
    for name, source in task.get("inputs", {}).get("parameters", {}).items():
        if "componentInputParameter" in source:
            found[name] = arguments[source["componentInputParameter"]]
        elif "taskOutputParameter" in source:
            output = source["taskOutputParameter"]
            found[name] = done[output["producerTask"]].parameters[output["outputParameterKey"]]
        else:
            found[name] = source["runtimeValue"]["constant"]
    return {name: _resolved(value, found) for name, value in found.items()}


def _resolved(value: Any, parameters: Mapping[str, Any]) -> Any:
    """`value` with references to other parameters replaced; whole numbers as Go writes them, without `.0`."""
    if isinstance(value, list):
        return [_resolved(item, parameters) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return re.sub(
            r"\{\{\$\.inputs\.parameters\['(.+?)'\]\}\}", lambda match: str(parameters[match[1]]), value
        )
    return value


def _input_artifacts(task: Mapping[str, Any], done: Mapping[str, Task]) -> dict[str, Any]:
    found = {}
    for name, source in task.get("inputs", {}).get("artifacts", {}).items():
        output = source["taskOutputArtifact"]
        found[name] = done[output["producerTask"]].artifacts[output["outputArtifactKey"]]
    return found


def _outputs(component: Mapping[str, Any], root: str) -> dict[str, Any]:
    defined = component.get("outputDefinitions", {})
    return {
        "parameters": {
            name: {"outputFile": f"{OUTPUT_PARAMETERS}/{name}"} for name in defined.get("parameters", ())
        },
        "artifacts": {
            name: {
                "artifacts": [
                    {
                        "name": name,
                        "uri": f"minio://{root}/{name}",
                        "type": given["artifactType"],
                        "metadata": {},
                    }
                ]
            }
            for name, given in defined.get("artifacts", {}).items()
        },
        "outputFile": f"/minio/{root}/{OUTPUT_FILE}",
    }


def _limits(
    container: Mapping[str, Any], kubernetes: Mapping[str, Any], parameters: Mapping[str, Any]
) -> list[str]:
    """podman's options for memory, /dev/shm and network."""
    memory = str(_resolved(container["resources"]["resourceMemoryLimit"], parameters))
    words = ["--memory", memory.removesuffix("i").lower()]
    for mount in kubernetes.get("emptyDirMounts", ()):
        if mount.get("medium") == "Memory":
            words += ["--shm-size", mount["sizeLimit"].removesuffix("i").lower()]
    reaches_store = any("AWS_" in str(secret) for secret in kubernetes.get("secretAsEnv", ()))
    endpoint = parameters.get("installation", {}).get("store_endpoint")
    return [*words, "--network", "host" if reaches_store and endpoint else "none"]


def _path(uri: str) -> str:
    """Path of an artifact below /minio."""
    return uri.removeprefix("minio://")


def _empty_dir(folder: Path) -> Path:
    """`folder`, writable for every user, with the parents that were made for it."""
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in made:
        part.chmod(0o777)
    return folder
