"""What each task asks of a cluster: image, processors, memory, disk, GPU, secrets, retries, time.

All of it is compiled into a pipeline: from the settings of the installation what is its own (GPUs, secrets),
from the tables here what the tasks need.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from kfp import kubernetes

from components.images import IMAGES
from components.task import ACCOUNT, RUN_ID, TASK, WANTED_ACCOUNT
from components.webhook import WEBHOOK
from datum.data_cache import CACHE
from datum.errors import InputError
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
    """Main memory, requested and limit. A task without it runs on the GPUs and their nodes, with the
    installation's `gpu_memory`."""
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
    shares_data: bool = False
    """Whether it mounts the installation's data cache, where data sets that it fetches stay for others."""
    every_gpu: bool = False
    """Whether it computes on as many GPUs as the installation has for a task: a training shares its batches.
    Other tasks take one. Drawing has more tasks (shards) for more GPUs, and personalizing and testing take
    minutes."""
    cached: bool = True
    """Whether KFP may serve the result of an earlier task with the same inputs. Not for a task that looks at
    things outside of its inputs (a data set in a store) or leaves something there (a report)."""

    @property
    def threads(self) -> int:
        """Whole processors that the task computes on."""
        return max(1, int(self.cpu) if self.cpu.isdecimal() else math.ceil(int(self.cpu[:-1]) / 1000))


_TRAINING = Needs(
    image="adaptation",
    cpu="8",
    disk="120Gi",
    shared_memory="8Gi",
    hours=96,
    shares_data=True,
    every_gpu=True,
)

PAPER: Mapping[str, Needs] = {
    "check": Needs(cpu="250m", memory="1Gi", disk="1Gi", hours=0.25, cached=False),
    # Asks for what training asks for, so that a cluster without room for it is found at once.
    "node": dataclasses.replace(_TRAINING, image="personalization", hours=0.5, hub=True, cached=False),
    # GTA's images and labels take 57 GB.
    "ingest": Needs(cpu="4", memory="8Gi", disk="150Gi", hours=12, cached=False),
    "select": Needs(cpu="250m", memory="1Gi", disk="2Gi", hours=0.5),
    # Stable Diffusion v1.4 takes 4.3 GB in float32, AdamW's state of UNet and text encoder 8 GB more.
    "personalize": Needs(
        image="personalization", cpu="4", disk="80Gi", shared_memory="2Gi", hours=6, hub=True
    ),
    # Labeled drawings take the source data set.
    "generate": Needs(
        image="generation", cpu="2", disk="120Gi", shared_memory="1Gi", hours=24, shares_data=True
    ),
    "merge": Needs(image="generation", cpu="1", memory="4Gi", disk="20Gi", hours=2, store=False),
    "adapt": _TRAINING,
    "evaluate": Needs(
        image="evaluation", cpu="4", disk="40Gi", shared_memory="1Gi", hours=6, shares_data=True
    ),
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
"""Seconds that the first two tasks wait for a fault to pass: a wrong endpoint is said soon."""
OMP, OPENCV = "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"
"""Environment variables that bound the threads: of PyTorch and NumPy, and of OpenCV."""
PART_OF = "app.kubernetes.io/part-of"
"""Label by which the network policies know a task's pod."""
CACHE_FOLDER = "/cache"
"""Where the data cache is mounted."""
STORE_KEYS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
HUB_KEYS = {"token": "HF_TOKEN"}
"""Keys of the secrets of the store and of the hub, with the environment variables that hold them."""
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
    data_volume: str = ""
    """PersistentVolumeClaim with data sets, mounted at /data for data sets; empty mounts none."""
    form: FormDefaults = dataclasses.field(default_factory=FormDefaults)
    """What the installation decides: what the form is filled with, and what is compiled in."""
    service_account: str = ""
    """Service account that runs are meant to have, which the first task compares with its own; empty: any."""
    sets_run_as_non_root: bool = True
    """Whether tasks set runAsNonRoot, which Pod Security *restricted* asks for. KFP 2.15 refuses a pipeline
    that sets it, later ones do not."""

    @property
    def caches(self) -> bool:
        """Whether results may be cached: KFP's key holds the image's name, which a tag does not pin."""
        return all("@sha256:" in image for image in self.images.values())

    def needs(self, kind: str) -> Needs:
        """What tasks of this kind, in the tables, ask for."""
        return (PAPER if self.form.profile == "paper" else DEMO)[kind]

    def gpus_of(self, kind: str) -> int:
        """The GPUs of tasks of this kind."""
        needs, count = self.needs(kind), self.form.gpu_count
        return 0 if needs.memory else count if needs.every_gpu else min(count, 1)

    def image_of(self, kind: str) -> str:
        """The image of tasks of this kind."""
        return self.images[self.needs(kind).image]

    def memory_of(self, kind: str) -> str:
        """The main memory of tasks of this kind."""
        form = self.form
        return self.needs(kind).memory or form.gpu_memory or ("32Gi" if form.profile == "paper" else "3Gi")

    def labels_of(self, kind: str) -> dict[str, str]:
        """The labels of the pods of tasks of this kind, less the installation's own."""
        return {PART_OF: "datum", "app.kubernetes.io/component": self.needs(kind).image}

    def place(self, task: Any, kind: str, name: str) -> None:
        """Puts `task`, of the given kind in the tables and called `name`, on the cluster."""
        needs = self.needs(kind)
        form = self.form
        task.set_container_image(self.image_of(kind))
        window = f"{retry_window(needs.hours)}s"
        task.set_retry(RETRIES, f"{FIRST_PAUSE}s", PAUSE_FACTOR, backoff_max_duration=window)
        task.set_caching_options(needs.cached and self.caches)
        memory = self.memory_of(kind)
        task.set_cpu_request(needs.cpu).set_memory_request(memory).set_memory_limit(memory)
        kubernetes.set_timeout(task, round(needs.hours * HOUR))
        patience = CHECK_PATIENCE if kind in ("check", "node") else round(needs.hours * HOUR - TIME_TO_END)
        task.set_env_variable(PATIENCE, str(patience))
        # Images are worked on side by side, so OpenCV needs no threads of its own for one.
        for threads, count in ((PROCESSORS, needs.threads), (OMP, needs.threads), (OPENCV, 1)):
            task.set_env_variable(threads, str(count))
        if self.sets_run_as_non_root:
            kubernetes.set_security_context(task, run_as_non_root=True)
        for label, value in {**form.pod_labels, **self.labels_of(kind)}.items():
            kubernetes.add_pod_label(task, label, value)
        # A retried task is of the same run, and finds the state that it left under the run's id.
        kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
        if kind == "check" and self.service_account:
            kubernetes.use_field_path_as_env(task, ACCOUNT, "spec.serviceAccountName")
            task.set_env_variable(WANTED_ACCOUNT, self.service_account)
        kubernetes.empty_dir_mount(task, "tmp", "/tmp", size_limit=needs.disk)
        if form.scratch_class:
            once, of_class = ["ReadWriteOnce"], {"storage_class_name": form.scratch_class}
            kubernetes.add_ephemeral_volume(task, "scratch", "/scratch", once, needs.disk, **of_class)
        else:
            kubernetes.empty_dir_mount(task, "scratch", "/scratch", size_limit=needs.disk)
        kubernetes.empty_dir_mount(
            task, "dev-shm", "/dev/shm", medium="Memory", size_limit=needs.shared_memory
        )
        if not needs.memory:
            if gpus := self.gpus_of(kind):
                task.set_accelerator_type(form.gpu_type).set_accelerator_limit(gpus)
            for label, value in form.node_selector.items():
                kubernetes.add_node_selector(task, label, value)
            for toleration in form.tolerations:
                kubernetes.add_toleration(task, **_toleration(toleration))
        if needs.store:
            kubernetes.use_secret_as_env(task, form.store_secret, STORE_KEYS)
            if self.data_volume:
                kubernetes.mount_pvc(task, self.data_volume, "/data")
        if needs.shares_data and form.data_cache:
            kubernetes.mount_pvc(task, form.data_cache, CACHE_FOLDER)
            task.set_env_variable(CACHE, CACHE_FOLDER)
        if needs.hub:
            kubernetes.use_secret_as_env(task, form.hub_secret, HUB_KEYS, optional=True)
        if form.webhook_secret:
            kubernetes.use_secret_as_env(task, form.webhook_secret, {"url": WEBHOOK}, optional=True)
            task.set_env_variable(TASK, name)


def _toleration(toleration: Mapping[str, Any]) -> dict[str, Any]:
    """A toleration as Kubernetes writes it, in the words of kfp; raises `InputError` for another key."""
    words = {name: name for name in ("key", "operator", "value", "effect")}
    words["tolerationSeconds"] = "toleration_seconds"
    for name in toleration:
        if name not in words:
            raise InputError(f"tolerations: found the key {name!r}, expected {', '.join(words)}")
    return {words[name]: value for name, value in toleration.items()}
