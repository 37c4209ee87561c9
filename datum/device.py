"""Where a network runs."""

import torch


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` is a GPU where there is one, else the processor."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
