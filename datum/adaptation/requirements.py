"""What a training needs: crops that its network can train on, memory and disk. All is said, and checked
before anything is written."""

import math
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datum.adaptation.mixing import gaussian_blur
from datum.adaptation.sampling import CACHE_BYTES, PREFETCHED
from datum.config import AdaptationSettings, require_counts
from datum.errors import InputError
from datum.methods import ENCODERS, METHODS
from datum.overrides import require_even_shares
from datum.room import bytes_below, require_disk, require_memory, size_in_words
from datum.segmentation.encoders import family, seen_size
from datum.segmentation.multi_resolution import forward_in_box
from datum.segmentation.segmentor import Segmentor, SegmentorConfig
from datum.segmentation.unweighted import unweighted
from datum.store import local_path
from datum.telemetry import log
from datum.training_state import KEPT_STATES

SHARED_MEMORY = Path("/dev/shm")
"""Where loading processes hand batches over."""

_PROCESS = 100 * 10**6
"""Bytes that a loading process takes beside its images."""


def network_of(encoder: str, settings: AdaptationSettings) -> SegmentorConfig:
    """What the settings train. Raises `InputError` where tokens are to be masked in an encoder other than
    DINOv2, or at two resolutions."""
    tokens = settings.masked_consistency and settings.masking == "token"
    if tokens and settings.multi_resolution:
        raise InputError(
            "adaptation.masking=token: hides patches of one resolution, and --method hrda sees two; set it "
            "to block"
        )
    if tokens and ENCODERS.get(encoder) != "dinov2":
        raise InputError(
            "adaptation.masking=token: puts a mask token in place of DINOv2's patches, which --encoder "
            f"{encoder} has not; take dinov2-s, -b or -l, or set it to block"
        )
    return SegmentorConfig(
        encoder=encoder,
        head_channels=settings.head_channels,
        drop_path_rate=settings.drop_path_rate,
        dropout=settings.dropout,
        multi_resolution=settings.multi_resolution,
        detail_crop=settings.crop // 2,
        mask_token=tokens,
    )


def require_recipe(method: str, settings: AdaptationSettings) -> None:
    """Raises `InputError` for settings out of range, and for those that contradict the method."""
    require_counts("adaptation", settings)
    require_even_shares(settings)
    if settings.masked_consistency and method in METHODS and METHODS[method].target == "none":
        raise InputError(
            f"adaptation.masked_consistency=true: hides parts of target images, of which --method {method} "
            "has none; take another method or set it to false"
        )


def require_trainable(config: SegmentorConfig, settings: AdaptationSettings) -> int:
    """Tries one step's forward pass without memory; the bytes that it keeps for the backward pass.

    Raises `InputError` for a crop and a batch size that the network cannot be trained on: maps smaller than a
    kernel, batch norm over a single value, a map whose cells do not cover the crop, at two resolutions a
    detail whose cells are not those of the context.
    """
    crop, batch_size = settings.crop, settings.batch_size
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    network = unweighted(lambda: Segmentor(config)).train()
    try:
        images = torch.empty(batch_size, 3, crop, crop, device="meta")
        gaussian_blur(images[:1], np.ones(1))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            features = _forward(network, images)
        side = features[-1].shape[-1]
        context = crop // 2 if config.multi_resolution else crop
        seen, _ = seen_size(config.encoder, (context, context))
        if seen // (seen // side) != side:
            raise ValueError(f"{side} cells of {seen // side} pixels do not make {seen}")
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        multiple, least = family(config.encoder).CELL, 64
        if config.multi_resolution:
            multiple, least = math.lcm(2 * multiple, _detail_step(network)), 2 * least
        raise InputError(
            f"adaptation.crop={crop} and adaptation.batch_size={batch_size}: {config.encoder} cannot be "
            f"trained on them ({reason}); take a crop that is a multiple of {multiple}, from {least} to the "
            "images' size, or larger batches"
        ) from error
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _forward(network: Segmentor, images: Tensor) -> list[Tensor]:
    """A pass of the training; the feature maps that the feature distance is taken of."""
    if not network.config.multi_resolution:
        features = network.encode(images)
        network.decode(features)
        return features
    crop, multiple = images.shape[-1], _detail_step(network)
    if crop % multiple:
        raise ValueError(f"a detail of half the crop needs a multiple of {multiple}")
    corner = torch.zeros(2, dtype=torch.int64, device=images.device)
    return forward_in_box(network, images, corner).features


def _detail_step(network: Segmentor) -> int:
    """What a crop of two resolutions is a multiple of, in pixels, so that its detail has whole cells."""
    return 4 * network.head_stride


def require_room_to_train(
    student: Segmentor, activations: int, settings: AdaptationSettings, *, device: torch.device, best: bool
) -> None:
    """Says what the training needs of the memory of the device and of the machine, and raises
    `TemporaryFaultError` or `InputError` where that is not there.

    `activations` is what `require_trainable` counted; `best`, whether a copy of the best network is kept.
    """
    weights, encoder = _bytes_of(student), _bytes_of(student.encoder)
    processes = settings.processes
    # CUDA graphs keep the gradients of two passes; those of several processes are exchanged in one piece.
    twice = processes > 1 or (settings.cuda_graphs and device.type == "cuda")
    # Student, its gradients, its teacher, and AdamW's two moments.
    on_device = (5 + twice) * weights
    on_device += activations // (2 if settings.mixed_precision == "bf16" else 1) // processes
    if settings.feature_distance_weight > 0:
        on_device += encoder
    batch = _batch_bytes(settings)
    # Each process keeps its latest images of the source and of the target.
    loaders = processes * (max(1, settings.workers) * 2 * CACHE_BYTES + settings.workers * _PROCESS)
    on_machine = loaders + (1 + PREFETCHED * settings.workers) * batch
    # A state on its way to the store: student, teacher and moments.
    on_machine += 4 * weights + best * weights
    if device.type != "cuda":
        require_memory(processes * on_device + on_machine, "adapt")
    else:
        require_memory(on_machine, "adapt")
        _require_gpu_memory(on_device, device)
    if settings.workers:
        _require_shared_memory(PREFETCHED * settings.workers * batch, settings.workers)


def require_room_to_save(student: Segmentor, output: Path, state: str, *, best: bool) -> None:
    """Says what the training writes to disks, and raises `TemporaryFaultError` where that is not there.

    `state` is the path or URI of the place of its state.
    """
    weights = _bytes_of(student)
    saved = (4 + best) * weights
    scratch, networks = saved, 2 * weights
    folder = local_path(state)
    # Two states are kept while the next is written.
    kept = (KEPT_STATES + 1) * saved
    if folder is not None and folder.is_relative_to(output):
        require_disk(output, _still(networks + scratch + kept, folder), "adapt")
        return
    require_disk(output, networks + scratch, "adapt")
    if folder is not None:
        require_disk(folder, _still(kept, folder), "adapt's state")


def _still(needed: int, folder: Path) -> int:
    """`needed` less what an earlier process left in `folder`, which counts for it."""
    return max(0, needed - bytes_below(folder))


def _bytes_of(network: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def _batch_bytes(settings: AdaptationSettings) -> int:
    """Source and target images and labels, uint8."""
    return settings.batch_size * settings.crop**2 * (2 * 3 + 1)


def _require_shared_memory(needed: int, workers: int) -> None:
    if not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise InputError(
            f"{SHARED_MEMORY}: {size_in_words(free)} are free, expected {size_in_words(needed)} for "
            f"adaptation.workers={workers}; set adaptation.workers=0, or give it more room (docker: "
            "--shm-size)"
        )


def _require_gpu_memory(needed: int, device: torch.device) -> None:
    free, _ = torch.cuda.mem_get_info(device)
    log(f"adapt: needs {size_in_words(needed)} of the GPU's memory, {size_in_words(free)} are free")
    if needed > free:
        raise InputError(
            f"memory of the GPU: {size_in_words(free)} are free, expected {size_in_words(needed)}; end other "
            "programs on it, lower adaptation.crop or adaptation.batch_size, or set "
            "adaptation.mixed_precision=bf16"
        )
