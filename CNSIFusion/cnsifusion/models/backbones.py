"""Backbones: torchvision's DenseNet-201 and MobileNetV3-Large, kept at a fine stride, with a fixed projection.

Strides beyond the wanted one become dilations, so that the filters keep their reach while the map keeps its cells
(Yu, Koltun, Funkhouser, Dilated Residual Networks, CVPR 2017). The projection to a few channels is random, orthonormal
and fixed by its seed: it is fitted to nothing (Johnson and Lindenstrauss, 1984).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import torch
import torchvision
from torch import nn

from cnsifusion.errors import BadInput
from cnsifusion.imaging.write import atomic_path
from cnsifusion.models.settings import ModelSettings

_PROJECTION_SEED = 20250820
#: Beside the weights in a file: SHA-256 of what tells the patients again whom they were learnt from, uint8 (n, 32).
_PATIENTS = "pretraining_patients"
_CHANNELS = {"densenet201": 1920, "mobilenet_v3_large": 960}


class Backbone(nn.Module):
    """Patches (n, c, h, w) to maps (n, map_channels, h / stride, w / stride).

    ``c`` is 1 (image) or 2 (image and mask of the region). The network sees the image in two intensity windows, each
    mapped to -1..1, and the mask (zeros where there is none).
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        if settings.backbone is None:
            raise ValueError("this model has no backbone")
        self.windows = (settings.narrow_window, settings.wide_window)
        self.features = _features(settings.backbone)
        _keep_stride(self.features, settings.stride)
        self.last = nn.ReLU() if settings.backbone == "densenet201" else nn.Identity()
        channels = _CHANNELS[settings.backbone]
        self.project = nn.Conv2d(channels, settings.map_channels, 1, bias=False)
        generator = torch.Generator().manual_seed(_PROJECTION_SEED)
        gaussian = torch.randn(channels, settings.map_channels, generator=generator, dtype=torch.float64)
        orthonormal = torch.linalg.qr(gaussian)[0].T.float()
        self.project.weight = nn.Parameter(orthonormal[:, :, None, None].contiguous(), requires_grad=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """See the class."""
        image = patches[:, :1]
        mask = patches[:, 1:2] if patches.shape[1] > 1 else torch.zeros_like(image)
        views = [(image.clamp(low, high) - low) * (2 / (high - low)) - 1 for low, high in self.windows]
        return self.project(self.last(self.features(torch.cat([*views, mask], dim=1))))


def _features(name: str) -> nn.Module:
    if name == "densenet201":
        return torchvision.models.densenet201(weights=None).features
    return torchvision.models.mobilenet_v3_large(weights=None).features


def _keep_stride(features: nn.Module, stride: int) -> None:
    """Turn every down-sampling beyond ``stride`` into a dilation of what follows (modules in order of execution)."""
    reached, dilation = 1, 1
    for module in features.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            reach = dilation
            if module.stride == (2, 2):
                if reached < stride:
                    reached *= 2
                else:
                    module.stride, dilation = (1, 1), dilation * 2
            module.dilation = (reach, reach)
            module.padding = tuple(reach * (k // 2) for k in module.kernel_size)
        elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
            if reached < stride:
                reached *= 2
            else:
                module.kernel_size, module.stride, dilation = 1, 1, dilation * 2


def new_backbone(settings: ModelSettings, seed: int) -> Backbone:
    """A backbone with random weights, to be trained or filled."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Backbone(settings).eval()


def random_backbone(settings: ModelSettings, seed: int) -> Backbone:
    """A backbone with random weights that still passes signal (its results must be labelled so).

    Its normalisations take their statistics from smoothed noise, never from images: untouched, they would let the
    signal fade to nothing over the layers.
    """
    backbone = new_backbone(settings, seed)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # cumulative average
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(16, 2, 64, 64, generator=generator)
    smooth = nn.functional.avg_pool2d(noise, 5, stride=1, padding=2) * 3
    with torch.no_grad():
        backbone.train()(smooth)
    return backbone.eval()


def imagenet_backbone(settings: ModelSettings, weights: Path, sha256: str) -> Backbone:
    """A backbone with torchvision's ImageNet weights from a file whose SHA-256 must be ``sha256``.

    Raises BadInput where the file's hash differs or its weights do not fit. The file is read without running code.
    """
    backbone = new_backbone(settings, 0)
    state = _load(weights, sha256)
    prefix = "features."
    features = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    _fill(backbone.features, _modern_names(features), weights, settings)
    return backbone


def _modern_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DenseNet's checkpoint writes norm.1 and conv.1 where the module has norm1 and conv1."""
    parts = ("norm.1", "norm.2", "conv.1", "conv.2")
    renamed = {}
    for key, value in state.items():
        for part in parts:
            key = key.replace(f".{part}.", f".{part.replace('.', '')}.")
        renamed[key] = value
    return renamed


def save_backbone(backbone: Backbone, path: Path, patients: Iterable[str] = ()) -> str:
    """Write the weights (tensors only) atomically; returns the file's SHA-256.

    ``patients`` are hashes (SHA-256, hex) of those it was pre-trained on, for ``pretraining_patients``. The bytes
    depend on both alone: torch would otherwise write the file's own name into it.
    """
    state, buffer = backbone.state_dict(), io.BytesIO()
    if hashes := sorted(patients):
        state[_PATIENTS] = torch.tensor([list(bytes.fromhex(h)) for h in hashes], dtype=torch.uint8)
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def load_backbone(settings: ModelSettings, path: Path, sha256: str | None = None) -> Backbone:
    """A backbone written by ``save_backbone``; raises BadInput where hash or shapes differ."""
    backbone = new_backbone(settings, 0)
    state = _load(path, sha256)
    state.pop(_PATIENTS, None)
    _fill(backbone, state, path, settings)
    return backbone.eval()


def pretraining_patients(path: Path) -> frozenset[str]:
    """The hashes that ``save_backbone`` was given; empty where the file keeps none. Raises BadInput as it does."""
    rows = _load(path, None).get(_PATIENTS, torch.empty(0, 32, dtype=torch.uint8))
    if not isinstance(rows, torch.Tensor) or rows.dtype != torch.uint8 or rows.dim() != 2:
        raise BadInput(f"The backbone weights {path} keep the patients of their pre-training in an unknown form.")
    return frozenset(bytes(row).hex() for row in rows.tolist())


def weights_sha256(backbone: Backbone) -> str:
    """SHA-256 over all weights, independent of the file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _load(path: Path, sha256: str | None) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise BadInput(f"The backbone weights {path} do not exist.")
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise BadInput(f"The backbone weights {path} do not have the given SHA-256; get the file again.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.items())
    except Exception as error:  # torch raises several unrelated classes for a damaged file
        raise BadInput(f"The backbone weights {path} cannot be read as a file of tensors.") from error


def _fill(module: nn.Module, state: dict[str, torch.Tensor], path: Path, settings: ModelSettings) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadInput(f"The backbone weights {path} do not fit {settings.backbone}.") from error
