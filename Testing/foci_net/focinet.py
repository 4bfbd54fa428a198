"""The network: convolutions of 3 x 3 on three resolutions, 20,000 weights; its training and its file."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cnsifusion.inference import new_session
from cnsifusion.roi.foci_net import SIZE

_WIDTHS, _HIDDEN = (12, 24, 32), 32
_RATE, _DECAY, _BATCH, _TRUE, _OPSET = 2e-3, 3e-2, 96, 32, 17


class _Block(nn.Sequential):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(nn.Conv2d(inner, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.LeakyReLU(0.1))


class FociNet(nn.Module):
    """Log-odds (n,) that the blob in the middle of ``network_input`` is a space."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.fine = nn.Sequential(_Block(7, fine), _Block(fine, fine))
        self.middle = nn.Sequential(_Block(fine, middle), _Block(middle, middle))
        self.coarse = _Block(middle, coarse)
        self.score = nn.Sequential(nn.Linear(sum(_WIDTHS), _HIDDEN), nn.LeakyReLU(0.1), nn.Linear(_HIDDEN, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.fine(image)
        middle = self.middle(functional.avg_pool2d(fine, 2, ceil_mode=True))
        coarse = self.coarse(functional.avg_pool2d(middle, 2, ceil_mode=True))
        at = SIZE // 2
        seen = fine[:, :, at, at], middle[:, :, at // 2, at // 2], coarse.amax((2, 3))
        return self.score(torch.cat(seen, 1))[:, 0]


def trained(
    pictures: np.ndarray, constants: np.ndarray, truths: np.ndarray, steps: int, seed: int = 0
) -> FociNet:
    """A network taught with blobs as ``spaces.samples`` gives them; a third of every batch are true."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = FociNet()
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 100) * max(0.02, 1 - step / steps)
    )
    true, none = np.flatnonzero(truths), np.flatnonzero(~truths)
    for step in range(steps):
        chosen = np.concatenate([rng.choice(true, _TRUE), rng.choice(none, _BATCH - _TRUE)])
        signal = pictures[chosen].astype(np.float32) * rng.uniform(0.9, 1.1) + rng.normal(0, 0.02)
        signal += rng.uniform(0, 0.05) * rng.standard_normal(signal.shape)
        image = torch.from_numpy(assembled(signal.astype(np.float32), constants[chosen]))
        loss = functional.binary_cross_entropy_with_logits(
            network(image), torch.from_numpy(truths[chosen].astype(np.float32))
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            print(f"step {step + 1}: {loss.item():.3f}", flush=True)
    return network.eval()


def assembled(pictures: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """The network's input of ``pictures`` (n, 3, j, i) and what is the same everywhere in them (n, 4)."""
    planes = np.broadcast_to(constants[:, :, None, None], (*constants.shape, SIZE, SIZE))
    return np.concatenate([pictures, planes], 1, dtype=np.float32)


def exported(network: FociNet) -> bytes:
    """The ONNX graph for any number of blobs, checked against the network."""
    example, buffer = torch.zeros(2, 7, SIZE, SIZE), io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecation notices
        torch.onnx.export(
            network.eval(), (example,), buffer, input_names=["image"], output_names=["focus"],
            dynamic_axes={"image": {0: "n"}, "focus": {0: "n"}}, opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    content = buffer.getvalue()
    image = np.random.default_rng(0).uniform(-1, 1, (5, 7, SIZE, SIZE)).astype(np.float32)
    (found,) = new_session(content).run(["focus"], {"image": image})
    with torch.no_grad():
        np.testing.assert_allclose(found, network(torch.from_numpy(image)).numpy(), atol=1e-3)
    return content
