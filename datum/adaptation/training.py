"""The training of the segmentation network: the loop around its steps, which saves, validates and logs."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from datum.adaptation.divergence import Watch
from datum.adaptation.learner import Learner, Losses
from datum.adaptation.masking import Masked
from datum.adaptation.mix_panels import is_pictured, mix_panels
from datum.adaptation.pace import Pace
from datum.adaptation.sampling import Batch, TrainingSamples, telling_of_dead_processes
from datum.adaptation.self_training import Mixed
from datum.config import AdaptationSettings, EvaluationSettings
from datum.errors import InputError
from datum.formats.mix_pictures import MixPictures
from datum.formats.training_log import TrainingLog
from datum.instruments import StepClock
from datum.outputs import replacing
from datum.provenance import peak_memory
from datum.segmentation.segmentor import Segmentor, read_header, save_segmentor
from datum.segmentation.validation import ValidationImage, validate
from datum.stopping import Stopped, stop_asked
from datum.telemetry import Progress, log
from datum.training_state import TrainingState

LAST, BEST = "last.safetensors", "best.safetensors"
"""Names of the files of the networks."""


def is_trained(folder: Path, iterations: int) -> bool:
    """Whether `write` has finished in `folder`: what was killed after that has nothing to train again, though
    no state is saved after the last iteration."""
    try:
        return (folder / BEST).is_file() and read_header(folder / LAST)["metadata"]["iteration"] == iterations
    except (InputError, KeyError):
        return False


class Training(Learner):
    """One training, and everything that a resumed one needs."""

    def __init__(
        self,
        *,
        student: Segmentor,
        settings: AdaptationSettings,
        evaluation: EvaluationSettings,
        validation: Sequence[ValidationImage],
        seed: int,
        state: TrainingState,
        training_log: TrainingLog,
        pictures: MixPictures,
        imagenet: Segmentor | None = None,
    ) -> None:
        """`imagenet` has the pretrained encoder, where the student starts from another one."""
        super().__init__(student=student, settings=settings, seed=seed, imagenet=imagenet)
        self._evaluation, self._validation = evaluation, validation
        self._state, self._log, self._pictures = state, training_log, pictures
        self._watch, self._pace = Watch(settings), Pace()
        self._best: dict[str, Any] = {}
        self._started = time.monotonic()

    def run(self, samples: TrainingSamples) -> None:
        """Trains from the last saved state, or from the start, to the last iteration.

        Raises `Stopped` after a save where the process is asked to stop, and `InputError` where the training
        diverges.
        """
        self._resume()
        iterations = self._settings.iterations
        progress = Progress("adapt", iterations, unit="iterations", done=self._iteration)
        self._pace.restart()
        clock = StepClock()
        with telling_of_dead_processes():
            for batch in self._batches(samples):
                clock.part("loading")
                losses = self._step(batch)
                self._iteration += 1
                self._pace.add(self._settings.batch_size * (1 if batch.target is None else 2))
                self._watch.add(self._iteration, losses)
                note = self._log_losses(losses)
                self._state.check()
                clock.part("computing")
                if self._iteration < iterations:
                    self._save_if_due()
                clock.part("saving")
                self._validate_if_due()
                clock.part("validating")
                progress.advance(note=note)

    def write(self, folder: Path) -> None:
        """Writes the last and the best network to `folder`; see `is_trained`."""
        self._watch.require_finite(self._student)
        # Whole on the disk before the networks say that the training is finished.
        self._log.restore(self._log.records)
        last = {"iteration": self._iteration}
        if self._validation:
            last["miou"] = self._log.records[-1]["miou"]
        save_segmentor(folder / LAST, self._student, last)
        if not self._validation:
            with replacing(folder / BEST) as temporary:
                shutil.copyfile(folder / LAST, temporary)
            return
        self._student.load_state_dict(self._best["weights"])
        best = {"iteration": self._best["iteration"], "miou": self._best["miou"]}
        save_segmentor(folder / BEST, self._student, best)

    def _draw_if_due(self, batch: Batch, mixed: Mixed, hidden: Masked | None) -> None:
        """Draws what the step at hand is shown; `hidden` are the images that MIC hides parts of."""
        iteration, settings = self._iteration + 1, self._settings
        if is_pictured(iteration, settings.iterations, settings.pictures):
            seen = hidden.seen if hidden else None
            self._pictures.add(iteration, mix_panels(batch, mixed, seen, settings.pseudo_threshold))

    def _due(self, every: int) -> bool:
        return self._iteration % every == 0 or self._iteration == self._settings.iterations

    def _log_losses(self, losses: Losses) -> str:
        if not self._due(self._settings.log_every):
            return ""
        self._watch.require_finite()
        values = {name: round(float(loss.detach()), 6) for name, loss in losses.items()}
        self._record(
            {
                **values,
                "learning_rate": self._optimizer.param_groups[0]["lr"],
                "images_per_second": round(self._pace.take(), 3),
                "peak_memory": peak_memory(self._device),
            }
        )
        return ", ".join(f"{name} {value:.3f}" for name, value in values.items())

    def _save_if_due(self) -> None:
        """Saves before a validation, which is repeated where the training stops in it, and before the process
        ends."""
        if not (self._due(self._settings.save_every) or self._validation_due() or stop_asked()):
            return
        self._watch.require_finite(self._student, self._teacher.segmentor)
        with self._pace.paused():
            self._save()
        if stop_asked():
            self._state.wait()
            raise Stopped(f"stopped after iteration {self._iteration}, whose state is saved")

    def _validation_due(self) -> bool:
        return bool(self._validation) and self._due(self._settings.validate_every)

    def _validate_if_due(self) -> None:
        if not self._validation_due():
            return
        self._watch.require_finite(self._student)
        with self._pace.paused():
            miou = validate(self._student, self._validation, self._evaluation)
        self._watch.require_score(miou, self._iteration)
        self._record({"miou": miou})
        log(f"iteration {self._iteration}: mIoU {miou:.2f}")
        if miou > self._best.get("miou", -1.0):
            weights = {name: tensor.cpu().clone() for name, tensor in self._student.state_dict().items()}
            # Another object, which is never changed: a state that holds the same one does not store it again.
            self._best = {"miou": miou, "iteration": self._iteration, "weights": weights}

    def _record(self, values: dict[str, Any]) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        self._log.append({"iteration": self._iteration, **values, "seconds": seconds})

    def _save(self) -> None:
        self._state.save(
            self._iteration,
            {
                "iteration": self._iteration,
                "student": self._student.state_dict(),
                "teacher": self._teacher.segmentor.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "records": self._log.records,
                "pictures": self._pictures.drawn,
            },
            seldom={"best": self._best} if self._best else {},
        )

    def _resume(self) -> None:
        found = self._state.load_latest(self._fits)
        if found is None:
            self._log.restore([])
            self._pictures.restore({})
            return
        self._iteration, state = found
        self._student.load_state_dict(state["student"])
        self._teacher.segmentor.load_state_dict(state["teacher"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best, records = state.get("best", {}), state["records"]
        log(f"resuming at iteration {self._iteration}")
        self._log.restore(records)
        self._pictures.restore(state.get("pictures", {}))
        self._started -= records[-1]["seconds"] if records else 0
        self._validate_if_due()

    def _fits(self, state: dict[str, Any]) -> bool:
        """Whether a saved state is one of this training: all of its parts, and every tensor of its shape."""
        weights, optimizer = self._student.state_dict(), self._optimizer.state_dict()
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        best, saved = state.get("best"), state["optimizer"]
        return (
            0 < state["iteration"] < self._settings.iterations
            and _same_shapes(state["student"], weights)
            and _same_shapes(state["teacher"], weights)
            and (best is None or (best["miou"] >= 0 and _same_shapes(best["weights"], weights)))
            and [group["params"] for group in saved["param_groups"]]
            == [group["params"] for group in optimizer["param_groups"]]
            and all(
                moment.shape == parameters[number].shape
                for number, moments in saved["state"].items()
                for moment in (moments["exp_avg"], moments["exp_avg_sq"])
            )
            and all(record["iteration"] > 0 and record["seconds"] >= 0 for record in state["records"])
            and all(type(i) is int and type(p) is bytes for i, p in state.get("pictures", {}).items())
        )


def _same_shapes(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].shape == tensor.shape and found[name].dtype == tensor.dtype
        for name, tensor in expected.items()
    )
