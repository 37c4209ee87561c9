"""What each task asks of a cluster: image, processors, memory, disk, GPU, secrets, retries, time.

What a person may want to choose for a run is a parameter of the pipeline; what KFP fixes when a pipeline is
compiled (retries, time-outs, volumes, labels) stands in the tables here.
"""

import dataclasses
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from kfp import kubernetes

from components.images import IMAGES
from components.task import RUN_ID
from datum.config import Profile
from datum.patience import PATIENCE
from datum.processors import PROCESSORS
from pipelines.form_defaults import FormDefaults

HOUR = 3600
"""Seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What one kind of task asks for."""

    image: str = "reporting"
    """Stage whose image it runs in."""
    cpu: str
    """Processors, requested. Torch and the processes of a task take no more, in whole ones."""
    memory: str = ""
    """Main memory, requested and limit. A task without it runs on the run's GPUs and their nodes, with the
    run's `gpu_memory`."""
    disk: str
    """Size limit of each of /tmp and /scratch."""
    shared_memory: str = "64Mi"
    """Size of /dev/shm, which is part of the memory. 64 MiB is what a container has anyway; data loaders pass
    batches through it."""
    hours: float
    """Time after which the task is ended and tried again."""
    store: bool = True
    """Whether it reaches the store of data sets and state."""
    hub: bool = False
    """Whether it may reach the model hub."""
    cached: bool = True
    """Whether KFP may serve the result of an earlier task with the same inputs. Not for a task that looks at
    things outside of its inputs (a data set in a store) or leaves something there (a report)."""

    @property
    def threads(self) -> int:
        """Whole processors that the task computes on."""
        return max(1, int(self.cpu) if self.cpu.isdecimal() else math.ceil(int(self.cpu[:-1]) / 1000))


PAPER: Mapping[str, Needs] = {
    "check": Needs(cpu="250m", memory="1Gi", disk="1Gi", hours=0.25, cached=False),
    # GTA's images and labels take 57 GB.
    "ingest": Needs(cpu="4", memory="8Gi", disk="150Gi", hours=12, cached=False),
    "select": Needs(cpu="250m", memory="1Gi", disk="2Gi", hours=0.5),
    # Stable Diffusion v1.4 takes 4.3 GB in float32, AdamW's state of UNet and text encoder 8 GB more.
    "personalize": Needs(
        image="personalization", cpu="4", disk="80Gi", shared_memory="2Gi", hours=6, hub=True
    ),
    "generate": Needs(image="generation", cpu="2", disk="20Gi", shared_memory="1Gi", hours=24),
    "merge": Needs(image="generation", cpu="1", memory="4Gi", disk="20Gi", hours=2, store=False),
    "adapt": Needs(image="adaptation", cpu="8", disk="120Gi", shared_memory="8Gi", hours=96),
    "evaluate": Needs(image="evaluation", cpu="4", disk="40Gi", shared_memory="1Gi", hours=6),
    "report": Needs(cpu="500m", memory="4Gi", disk="20Gi", hours=2, cached=False),
}
"""For the `paper` profile. DAFormer's training takes 16 hours on an RTX 2080 Ti."""

DEMO: Mapping[str, Needs] = {
    kind: dataclasses.replace(
        needs,
        cpu="250m" if needs.memory == "1Gi" else "500m",
        memory=needs.memory and "1Gi",
        disk="2Gi",
        shared_memory="64Mi",
        hours=2,
    )
    for kind, needs in PAPER.items()
}
"""For the `demo` profile, on a laptop's cluster."""

RETRIES = 3
"""Tries after the first. A task that kept state goes on from there; the others start anew."""
TIME_TO_END = 600
"""Seconds before a task's time-out at which it no longer waits for a fault to pass."""
CHECK_PATIENCE = 30
"""Seconds that the check of the parameters waits for a fault to pass: a wrong endpoint is said soon."""
OPENCV = "OPENCV_FOR_THREADS_NUM"
"""Environment variable that bounds OpenCV's threads; PyTorch and NumPy read OMP_NUM_THREADS."""
FIRST_PAUSE, PAUSE_FACTOR = 60, 2.0
"""Seconds before KFP tries a task again, and how many times longer each further pause is: one, two and four
minutes are longer than a node's restart."""


def retry_window(hours: float) -> int:
    """Seconds in which all tries of a task with a time-out of `hours` can begin and end.

    Argo takes KFP's backoff_max_duration for the whole time of all tries, not for the longest pause: nothing
    is tried again after it, and a pod that still runs then is ended. A quarter more is for the time that pods
    wait for a node.
    """
    pauses = sum(FIRST_PAUSE * PAUSE_FACTOR**number for number in range(RETRIES))
    return round(1.25 * ((RETRIES + 1) * hours * HOUR + pauses))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the tasks of a compiled pipeline run."""

    images: Mapping[str, str] = dataclasses.field(default_factory=lambda: IMAGES)
    """Stage -> image, by digest or by tag; those that `make images` builds by default."""
    profile: Profile = "paper"
    """Profile that the defaults and the tables are for."""
    data_volume: str = ""
    """PersistentVolumeClaim with data sets, mounted at /data for data sets; empty mounts none."""
    form: FormDefaults | None = None
    """What the form is filled with; None leaves its own defaults."""
    sets_run_as_non_root: bool = True
    """Whether tasks set runAsNonRoot, which Pod Security *restricted* asks for. KFP 2.15 refuses a pipeline
    that sets it, later ones do not."""

    @property
    def caches(self) -> bool:
        """Whether results may be cached: KFP's key holds the image's name, which a tag does not pin."""
        return all("@sha256:" in image for image in self.images.values())

    def _needs(self, kind: str) -> Needs:
        return (PAPER if self.profile == "paper" else DEMO)[kind]

    def image_of(self, kind: str, parameters: SimpleNamespace) -> Any:
        """The field of the form that names the image of tasks of this kind."""
        return getattr(parameters, f"{self._needs(kind).image}_image")

    def place(self, task: Any, kind: str, parameters: SimpleNamespace) -> None:
        """Puts `task`, of the given kind in the tables, on the cluster."""
        needs = self._needs(kind)
        task.set_container_image(self.image_of(kind, parameters))
        window = f"{retry_window(needs.hours)}s"
        task.set_retry(RETRIES, f"{FIRST_PAUSE}s", PAUSE_FACTOR, backoff_max_duration=window)
        task.set_caching_options(needs.cached and self.caches)
        memory = needs.memory or parameters.gpu_memory
        task.set_cpu_request(needs.cpu).set_memory_request(memory).set_memory_limit(memory)
        kubernetes.set_timeout(task, round(needs.hours * HOUR))
        patience = CHECK_PATIENCE if kind == "check" else round(needs.hours * HOUR - TIME_TO_END)
        task.set_env_variable(PATIENCE, str(patience))
        # Images are worked on side by side, so OpenCV needs no threads of its own for one.
        for name, count in ((PROCESSORS, needs.threads), ("OMP_NUM_THREADS", needs.threads), (OPENCV, 1)):
            task.set_env_variable(name, str(count))
        if self.sets_run_as_non_root:
            kubernetes.set_security_context(task, run_as_non_root=True)
        kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "datum")
        kubernetes.add_pod_label(task, "app.kubernetes.io/component", needs.image)
        # A retried task is of the same run, and finds the state that it left under the run's id.
        kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
        kubernetes.empty_dir_mount(task, "tmp", "/tmp", size_limit=needs.disk)
        kubernetes.empty_dir_mount(task, "scratch", "/scratch", size_limit=needs.disk)
        kubernetes.empty_dir_mount(
            task, "dev-shm", "/dev/shm", medium="Memory", size_limit=needs.shared_memory
        )
        if not needs.memory:
            task.set_accelerator_type(parameters.gpu_type).set_accelerator_limit(parameters.gpu_count)
            kubernetes.add_node_selector_json(task, parameters.node_selector)
            kubernetes.add_toleration_json(task, parameters.tolerations)
        if needs.store:
            keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
            kubernetes.use_secret_as_env(task, parameters.store_secret, keys)
            if self.data_volume:
                kubernetes.mount_pvc(task, self.data_volume, "/data")
        if needs.hub:
            kubernetes.use_secret_as_env(task, parameters.hub_secret, {"token": "HF_TOKEN"}, optional=True)
