"""A training that diverges ends before anything that is not finite is logged, saved or published."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from datum.config import AdaptationSettings
from datum.errors import InputError
from datum.instruments import NOT_FINITE, add


class Watch:
    """Collects the losses of every iteration, and looks at them when asked: one transfer from the device a
    look, so that no step waits for its own loss."""

    def __init__(self, settings: AdaptationSettings) -> None:
        self._settings = settings
        self._unseen: list[tuple[int, str, Tensor]] = []

    def add(self, iteration: int, losses: Mapping[str, Tensor]) -> None:
        """Takes the losses of one iteration, scalars."""
        self._unseen += [(iteration, name, loss.detach()) for name, loss in losses.items()]

    def require_finite(self, *networks: nn.Module) -> None:
        """Raises `InputError` that names the first loss since the last look that is not finite, and where a
        weight of `networks` is not."""
        if self._unseen:
            values = torch.stack([loss.float() for _, _, loss in self._unseen]).tolist()
            for (iteration, name, _), value in zip(self._unseen, values):
                if not math.isfinite(value):
                    raise self._diverged(f"the {name} loss of iteration {iteration} is {value}")
            self._unseen.clear()
        for network in networks:
            weights = [t.detach() for t in network.state_dict().values() if t.is_floating_point()]
            if not torch.stack(torch._foreach_norm(weights)).isfinite().all():
                raise self._diverged("a weight is not finite")

    def require_score(self, miou: float, iteration: int) -> None:
        """Raises `InputError` for an mIoU that is not finite."""
        if not math.isfinite(miou):
            raise self._diverged(f"the mIoU of iteration {iteration} is {miou}")

    def _diverged(self, found: str) -> InputError:
        add(NOT_FINITE)
        settings = self._settings
        precise = " or set adaptation.mixed_precision=no" if settings.mixed_precision != "no" else ""
        return InputError(
            f"adaptation.learning_rate={settings.learning_rate}: the training diverged: {found}; lower it"
            f"{precise}; nothing is published, and the states saved before are kept"
        )
