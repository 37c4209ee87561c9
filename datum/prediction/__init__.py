"""Stage: predicting photographs and videos of one's own with a trained network."""

from collections.abc import Mapping

PREDICTION_KINDS: Mapping[str, str] = {
    "label_ids": "Cityscapes' label ids as PNG, of a video a folder with one a frame",
    "color": "the classes in Cityscapes' colors, PNG",
    "overlay": "the colors over the input, JPEG",
    "beside": "the input and the overlay, one at the side of the other, JPEG",
}
"""What can be written of a prediction -> what it is."""
DEFAULT_KINDS = ("label_ids", "overlay")
