"""DAFormer's or HRDA's own training step, for `bench_adaptation.py` and `bench_gpu.py`: a process without our
packages.

Run with ENCODER, CROP, a file with a batch and perhaps `hrda`, it answers each line that it reads with the
processor seconds of one step and the most kilobytes of memory that it has had; with `cuda`, those of a GPU,
in float32 or, with `tf32`, in TF32.
"""

import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmcv import Config
from mmcv.runner import build_optimizer
from mmseg.models.builder import UDA

CHANNELS = {"mit-b0": [32, 64, 160, 256], "mit-b5": [64, 128, 320, 512]}


def at_two_resolutions(network: Config, crop: int) -> None:
    """What HRDA's `experiments.py` makes of DAFormer's network."""
    head = network.decode_head
    head.update(single_scale_head=head.type, type="HRDAHead", attention_classwise=True, hr_loss_weight=0.1)
    network.update(
        type="HRDAEncoderDecoder",
        scales=[1, 0.5],
        hr_crop_size=(crop // 2, crop // 2),
        feature_scale=0.5,
        crop_coord_divisible=8,
        hr_slide_inference=True,
    )


def seconds_now(on_gpu: bool) -> float:
    """Of the processor's time, or of the clock when a GPU has done all that it was told."""
    if not on_gpu:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def most_kilobytes(on_gpu: bool) -> int:
    if on_gpu:
        return torch.cuda.max_memory_allocated() // 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    encoder, crop = sys.argv[1], int(sys.argv[2])
    on_gpu = "cuda" in sys.argv[4:]
    torch.set_num_threads(1)
    # As its `default_runtime.py` has it.
    torch.backends.cudnn.benchmark = on_gpu
    torch.backends.cuda.matmul.allow_tf32 = "tf32" in sys.argv[4:]
    configs = Path(os.environ["DAFORMER"], "configs", "_base_")
    network = Config.fromfile(f"{configs}/models/daformer_sepaspp_mitb5.py").model
    network.pretrained = None
    network.backbone.type = encoder.replace("-", "_")
    network.decode_head.in_channels = CHANNELS[encoder]
    network.train_cfg = {"work_dir": tempfile.gettempdir()}
    if "hrda" in sys.argv[4:]:
        at_two_resolutions(network, crop)
    training = Config.fromfile(f"{configs}/uda/dacs_a999_fdthings.py").uda
    training.update(
        model=network,
        max_iters=40_000,
        pseudo_weight_ignore_top=15 * crop // 512,
        pseudo_weight_ignore_bottom=120 * crop // 512,
        # No pictures within a measurement; one is drawn where this divides the iteration.
        debug_img_interval=10**9,
        train_cfg=network.train_cfg,
        test_cfg=None,
    )
    dacs = UDA.build(training).to("cuda" if on_gpu else "cpu")
    dacs.local_iter = 1
    dacs.train()
    keys = {
        "head": {"lr_mult": 10.0},
        "pos_block": {"decay_mult": 0.0},
        "norm": {"decay_mult": 0.0},
    }
    optimizer = build_optimizer(
        dacs,
        {
            "type": "AdamW",
            "lr": 6e-5,
            "betas": (0.9, 0.999),
            "weight_decay": 0.01,
            "paramwise_cfg": {"custom_keys": keys},
        },
    )
    # A step with all that it may do: jitter and blur too.
    random.uniform = lambda low, high: high  # type: ignore[assignment]
    statistics = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}
    batch = torch.load(sys.argv[3], weights_only=True, map_location="cuda" if on_gpu else "cpu")
    data = {
        "img": batch["source"],
        "img_metas": [{"img_norm_cfg": statistics}] * len(batch["source"]),
        "gt_semantic_seg": batch["labels"][:, None],
        "target_img": batch["target"],
        "target_img_metas": [{"img_norm_cfg": statistics}] * len(batch["source"]),
    }
    for _ in sys.stdin:
        start = seconds_now(on_gpu)
        dacs.train_step(data, optimizer)
        print(seconds_now(on_gpu) - start, most_kilobytes(on_gpu), flush=True)


if __name__ == "__main__":
    main()
