"""The network: three resolutions, convolutions of 3 x 3 x 3, 200,000 weights; its training and its file."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cnsifusion.inference import new_session
from cnsifusion.roi.region_net import SIDE, network_input

_WIDTHS = (12, 24, 48)
_RATE, _DECAY, _BATCH, _FOLLOW, _OPSET = 3e-3, 1e-3, 2, 3e-3, 17


class _Block(nn.Sequential):
    def __init__(self, inner: int, outer: int) -> None:
        layers: list[nn.Module] = []
        for width in (inner, outer):
            layers += [
                nn.Conv3d(width, outer, 3, padding=1, bias=False),
                nn.InstanceNorm3d(outer, affine=True),
                nn.LeakyReLU(0.1),
            ]
        super().__init__(*layers)


class RegionNet(nn.Module):
    """Log-odds of region B and of the nucleus (n, 2, k, j, i) from ``network_input``; the nucleus helps to learn."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.fine, self.middle, self.coarse = _Block(4, fine), _Block(fine, middle), _Block(middle, coarse)
        self.up_middle, self.up_fine = _Block(coarse + middle, middle), _Block(middle + fine, fine)
        self.score = nn.Conv3d(fine, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.fine(image)
        middle = self.middle(functional.avg_pool3d(fine, 2))
        coarse = self.coarse(functional.avg_pool3d(middle, 2))
        middle = self.up_middle(torch.cat([_doubled(coarse), middle], 1))
        return self.score(self.up_fine(torch.cat([_doubled(middle), fine], 1)))


class _RegionOnly(nn.Module):
    def __init__(self, network: RegionNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image)[:, 0]


def _doubled(values: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(values, scale_factor=2, mode="trilinear", align_corners=False)


def trained(images: np.ndarray, truths: np.ndarray, steps: int, seed: int = 0) -> RegionNet:
    """A network taught with ``images`` (n, k, j, i) and ``truths`` (n, 2, k, j, i; 255 for all of a voxel).

    What is returned is the running mean of its weights.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = RegionNet()
    mean = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(1 - _FOLLOW)
    )
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 100) * max(0.02, 1 - step / steps)
    )
    for step in range(steps):
        chosen = rng.integers(0, len(images), _BATCH)
        image = torch.from_numpy(network_input(images[chosen].astype(np.float32)))
        truth = torch.from_numpy(truths[chosen].astype(np.float32) / 255)
        image, truth = _altered(image, truth, rng)
        scores = network(image)
        optimiser.zero_grad()
        _loss(scores, truth).backward()
        optimiser.step()
        schedule.step()
        mean.update_parameters(network)
        if (step + 1) % 500 == 0:
            print(f"step {step + 1}", flush=True)
    return mean.module


def _loss(scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    chance = torch.sigmoid(scores)
    overlap = (2 * (chance * truth).sum((2, 3, 4)) + 1) / ((chance + truth).sum((2, 3, 4)) + 1)
    return 3 * functional.binary_cross_entropy_with_logits(scores, truth) + (1 - overlap).mean()


def _altered(image: torch.Tensor, truth: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Both bent by up to a few mm, the signal with another contrast and more noise; the place channels stay."""
    shape = image.shape[2:]
    knots = torch.randn(len(image), 3, 4, 5, 4) * float(rng.uniform(0, 1.8)) / SIDE.spacing[0]
    moved = functional.interpolate(knots, size=shape, mode="trilinear", align_corners=True).permute(0, 2, 3, 4, 1)
    still = functional.affine_grid(torch.eye(3, 4).repeat(len(image), 1, 1), list(image.shape), align_corners=True)
    where = still + moved * 2 / (torch.tensor(shape[::-1]) - 1)
    both = functional.grid_sample(torch.cat([image[:, :1], truth], 1), where, padding_mode="border", align_corners=True)
    signal = (both[:, :1] + 1) * float(rng.uniform(0.85, 1.2))
    if rng.random() < 0.5:
        signal = signal.clamp(min=0) ** float(rng.uniform(0.8, 1.25))
    signal = signal - 1 + float(rng.uniform(0, 0.05)) * torch.randn_like(signal)
    return torch.cat([signal, image[:, 1:]], 1), both[:, 1:]


def exported(network: RegionNet) -> bytes:
    """The ONNX graph of region B's log-odds for both sides at once, checked against the network."""
    example = torch.zeros(2, 4, *SIDE.shape)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecation notices
        torch.onnx.export(
            _RegionOnly(network).eval(), (example,), buffer, input_names=["image"], output_names=["region"],
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    content = buffer.getvalue()
    image = network_input(np.random.default_rng(0).uniform(50, 400, (2, *SIDE.shape)))
    (found,) = new_session(content).run(["region"], {"image": image})
    with torch.no_grad():
        np.testing.assert_allclose(found, network(torch.from_numpy(image))[:, 0].numpy(), atol=1e-3)
    return content
