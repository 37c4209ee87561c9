"""The card of a median checkpoint: what the network is, how good it is, and how it is used."""

from collections.abc import Mapping
from typing import Any

from datum.formats.run_folder import Run
from datum.methods import benchmark_title, title_of
from datum.provenance import read_provenance
from datum.reporting.citations import bibtex
from datum.reporting.markdown import class_table, method_table, percent, plain

MODEL_CARD = "README.md"
"""Name of the file beside the checkpoint, where model hubs look for it."""
MMCV = "mmcv.pth"
"""Name of the same network for the references' programs, where they have its like."""

_ADAPTED: Mapping[str, str] = {
    "generated": "Adapted by images that a diffusion model drew from one photograph of the new place "
    "(`one_shot.png`).",
    "one-shot": "Adapted by one photograph of the new place (`one_shot.png`).",
    "all": "Adapted by all training images of the new place, without their labels.",
    "none": "Trained on the source alone, not adapted.",
}


def model_card(figures: Mapping[str, Any], run: Run, *, mmcv: bool) -> str:
    """The card of the reported checkpoint of `run`, the median seed of `report.json`."""
    classes, ours = figures["headline"]["classes"], figures["methods"][0]
    median = figures["median_checkpoint"]
    name = median["file"].rpartition("/")[2]
    record = read_provenance(run.folder / "segmentor") or {}
    data = (
        f"{figures['data']}, in the layout of {figures['benchmark']}"
        if figures["data"]
        else benchmark_title(figures["benchmark"])
    )
    usage = [
        f"datum predict {name} photographs --output predicted",
        f"datum evaluate --checkpoint {name} --dataset data/cityscapes --output evaluation",
    ]
    lines = [
        "---",
        "library_name: datum",
        "pipeline_tag: image-segmentation",
        "tags: [semantic-segmentation, domain-adaptation, cityscapes-classes]",
        "---",
        "",
        f"# {title_of(run.method, run.target_images)}, {figures['encoder']}, {figures['benchmark']}",
        "",
        f"A semantic segmentation network for the 19 classes of Cityscapes. {_ADAPTED[run.target_images]} "
        f"Data: {plain(data)}. Profile {figures['profile']}, seed {run.seed}: of {len(ours['seeds'])} the "
        "median by mIoU.",
        "",
        f"- `{name}`: the {run.reported} checkpoint, sha256 `{median['sha256']}`",
        *(
            [f"- `{MMCV}`: the same weights for `tools/test.py` of DAFormer, HRDA, MIC and DATUM"]
            if mmcv
            else []
        ),
        "- `config.yaml`, `provenance.json`: settings, inputs and versions of the training",
        "- `metrics.json`: its scores with the confusion matrix",
        "",
        "```sh",
        *usage,
        "```",
        "",
        "## Scores",
        "",
        f"This checkpoint: {percent(median['miou'])} mIoU over {classes} classes on {figures['images']} "
        "validation images, percent. Over all seeds:",
        "",
        *method_table(figures["methods"]),
        "",
        *class_table([ours]),
        "",
        "## Limits",
        "",
        "- The best checkpoint is chosen on the same validation images, so its score flatters a little."
        if run.reported == "best"
        else "- The checkpoint is the last of its training: nothing was chosen on the validation images.",
        "- It is measured on the validation images of one place: expect less elsewhere, and measure there.",
        "- Not for decisions in traffic.",
        "- The weights that the training began with may have a license of their own; NVIDIA's MiT weights "
        "are for non-commercial use.",
        "",
        f"Trained by datum {record.get('datum_version', 'of an unknown release')}"
        + (f", commit `{record['git_commit']}`" if record.get("git_commit") else "")
        + ".",
        "",
        "```bibtex",
        *bibtex(figures),
        "```",
        "",
    ]
    return "\n".join(lines)
