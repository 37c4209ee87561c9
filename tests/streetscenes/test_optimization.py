"""One training loop: it keeps to its time, and goes on where it was stopped."""

from pathlib import Path

import torch

from datum.streetscenes.optimization import Runtime, TimedTraining, optimize


def test_training_goes_on_from_its_state_for_the_time_that_is_left(tmp_path: Path) -> None:
    cpu = Runtime(device=torch.device("cpu"))
    state_file = tmp_path / "state.pt"
    target = torch.tensor([[1.0, -2.0]])
    calls = []

    def train(seconds: float) -> torch.Tensor:
        torch.manual_seed(0)
        network = torch.nn.Linear(1, 2)

        def losses() -> dict[str, torch.Tensor]:
            calls.append(1)
            return {"squared": (network(torch.ones(1, 1)) - target).square().mean()}

        training = TimedTraining(name="line", seconds=seconds, batch=1, runtime=cpu, state_file=state_file)
        average = optimize(network, losses, training, learning_rate=0.05)
        return average(torch.ones(1, 1)).detach()

    half = train(0.5)
    steps = torch.load(state_file, weights_only=True)["step"]
    assert steps == len(calls)
    assert torch.equal(train(0.5), half)
    assert len(calls) == steps
    whole = train(1.0)
    assert torch.load(state_file, weights_only=True)["step"] == len(calls) > steps
    assert (whole - target).abs().max() < 0.05
