"""What to cite for a result: BibTeX of DATUM and of the method that trained the network."""

from collections.abc import Mapping
from typing import Any

_DATUM = (
    "@inproceedings{benigmim2023datum, "
    "title={One-shot Unsupervised Domain Adaptation with Personalized Diffusion Models}, "
    "author={Benigmim, Yasser and Roy, Subhankar and Essid, Slim and Kalogeiton, Vicky and "
    r"Lathuili{\`e}re, St{\'e}phane}, "
    "booktitle={CVPR Workshops}, year={2023}}"
)
_METHODS: Mapping[str, str] = {
    "daformer": (
        "@inproceedings{hoyer2022daformer, title={{DAFormer}: Improving Network Architectures and Training "
        "Strategies for Domain-Adaptive Semantic Segmentation}, "
        "author={Hoyer, Lukas and Dai, Dengxin and Van Gool, Luc}, booktitle={CVPR}, year={2022}}"
    ),
    "hrda": (
        "@inproceedings{hoyer2022hrda, title={{HRDA}: Context-Aware High-Resolution Domain-Adaptive Semantic "
        "Segmentation}, author={Hoyer, Lukas and Dai, Dengxin and Van Gool, Luc}, booktitle={ECCV}, "
        "year={2022}}"
    ),
    "dacs": (
        "@inproceedings{tranheden2021dacs, "
        "title={{DACS}: Domain Adaptation via Cross-domain Mixed Sampling}, "
        "author={Tranheden, Wilhelm and Olsson, Viktor and Pinto, Juliano and Svensson, Lennart}, "
        "booktitle={WACV}, year={2021}}"
    ),
}


def bibtex(figures: Mapping[str, Any]) -> list[str]:
    """Entries, a line each, for the method of `report.json`."""
    drawn = [_DATUM] if figures["target_images"] == "generated" else []
    # The others are trained by DAFormer's recipe.
    return [*drawn, _METHODS.get(figures["method"], _METHODS["daformer"])]
