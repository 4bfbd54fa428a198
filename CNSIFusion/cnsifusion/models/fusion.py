"""ASPP and the RadFusion head, for several independent models ("heads") on one shared map.

All heads of an ensemble, or all inner folds of a cross-validation, run as one module whose parameters carry a leading
head axis. Nothing is shared between heads and there is no batch statistic, so training them side by side gives the
same as one after the other. ASPP: Chen et al., Rethinking Atrous Convolution, 2017 (here depthwise-separable).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from cnsifusion.models.settings import ModelSettings

#: What ``RadFusion.pool`` takes from each channel: its mean, and its first moments along rows and columns.
MOMENTS = 3
#: A region of one cell has no spread to count places in (cells).
_SMALLEST_SPREAD = 0.5


class FusionHead(nn.Module):
    """Pooled maps (n, H, P) and standardised features (n, F) to log-odds (n, H).

    Parameter names and shapes are a file format: bundles.head reads them from ``head.onnx``.
    """

    def __init__(self, heads: int, features: int, pooled: int, embedding: int, hidden: int, clip: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(heads, 1, features), requires_grad=False)
        self.shift = nn.Parameter(torch.zeros(heads, 1, features), requires_grad=False)
        self.limit = nn.Parameter(torch.tensor(float(clip)), requires_grad=False)
        self.embed_weight = _uniform(heads, features, embedding, fan_in=features)
        self.embed_bias = nn.Parameter(torch.zeros(heads, 1, embedding))
        self.hidden_pooled = _uniform(heads, pooled, hidden, fan_in=pooled + embedding)
        self.hidden_embed = _uniform(heads, embedding, hidden, fan_in=pooled + embedding)
        self.hidden_bias = nn.Parameter(torch.zeros(heads, 1, hidden))
        self.out_weight = _uniform(heads, hidden, 1, fan_in=hidden)
        self.out_bias = nn.Parameter(torch.zeros(heads, 1, 1))

    def standardise(self, features: torch.Tensor) -> torch.Tensor:
        """Each head's own view (n, H, 1, F) of the features (n, F): its scaler, held within +- ``limit``."""
        x = features[:, None, None, :] * self.scale + self.shift
        return torch.minimum(torch.maximum(x, -self.limit), self.limit)

    def before_hidden(self, pooled: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Input (n, H, 1, D) of the hidden ReLU, from pooled maps and ``standardise``'s features."""
        embedded = F.relu(torch.matmul(x, self.embed_weight) + self.embed_bias)
        seen = torch.matmul(pooled[:, :, None, :], self.hidden_pooled)
        return seen + torch.matmul(embedded, self.hidden_embed) + self.hidden_bias

    def logit(self, before_hidden: torch.Tensor) -> torch.Tensor:
        """Log-odds (n, H) from ``before_hidden``."""
        out = torch.matmul(F.relu(before_hidden), self.out_weight) + self.out_bias
        return out.squeeze(3).squeeze(2)

    def forward(self, pooled: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.logit(self.before_hidden(pooled, self.standardise(features)))


class MapReader(nn.Module):
    """Maps (n, C, h, w) to activations (n, H * P, h, w): a 1x1 adapter and, added to it, ASPP with image pooling.

    ASPP starts at nothing (zero-initialised residual; Goyal et al., Accurate, large minibatch SGD, 2017), so that a
    network with it starts as the one without: untrained branches would blur where in the region something lies.

    ``map_mean`` and ``map_scale`` (H, C) standardise the map per head; they come from that head's training patients.
    """

    def __init__(self, settings: ModelSettings, heads: int) -> None:
        super().__init__()
        width, self.heads, self.rates = settings.pooled, heads, settings.rates if settings.aspp else ()
        self.channels = heads * width
        self.map_mean = nn.Parameter(torch.zeros(heads, settings.map_channels), requires_grad=False)
        self.map_scale = nn.Parameter(torch.ones(heads, settings.map_channels), requires_grad=False)
        self.reduce_weight = _uniform(heads, width, settings.map_channels, fan_in=settings.map_channels)
        self.reduce_bias = nn.Parameter(torch.zeros(heads, width))
        if settings.aspp:
            self.atrous = nn.ParameterList(_uniform(heads * width, 1, 3, 3, fan_in=9) for _ in self.rates)
            self.mix = nn.ParameterList(
                nn.Parameter(torch.zeros(heads * width, width, 1, 1)) for _ in range(len(self.rates) + 2)
            )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """See the class."""
        weight, bias = self._reduce()
        reduced = F.relu(F.conv2d(maps, weight, bias))
        if not self.rates:
            return reduced
        views = [reduced]
        views += [
            F.relu(F.conv2d(reduced, w, padding=r, dilation=r, groups=w.shape[0]))
            for r, w in zip(self.rates, self.atrous)
        ]
        views.append(reduced.mean(dim=(2, 3), keepdim=True))
        total = reduced
        for view, w in zip(views, self.mix):
            total = total + F.conv2d(view, w, groups=self.heads)
        return total

    def _reduce(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The 1x1 reduction with the map's standardisation folded in."""
        scaled = self.reduce_weight * self.map_scale[:, None, :]
        bias = self.reduce_bias - (scaled * self.map_mean[:, None, :]).sum(dim=2)
        return scaled.reshape(self.channels, -1, 1, 1), bias.reshape(self.channels)


class RadFusion(nn.Module):
    """Maps, region weights and features to log-odds and pooled maps.

    ``maps`` (n, C, h, w); ``weights`` (n, 1, h, w) sum to 1 per instance and say which cells are pooled; ``features``
    (n, F) in the bundle's common standardisation (one constant zero where the model has no radiomics).
    """

    def __init__(self, settings: ModelSettings, heads: int, features: int) -> None:
        super().__init__()
        self.heads, self.pooled = heads, MOMENTS * settings.pooled
        self.reader = MapReader(settings, heads)
        self.head = FusionHead(heads, features, self.pooled, settings.embedding, settings.hidden, settings.clip)

    def forward(self, maps: torch.Tensor, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Log-odds (n, H) from each head's own standardised features ``x`` (n, H, 1, F), as used in training."""
        pooled = self.pool(self.reader(maps), weights)
        return self.head.logit(self.head.before_hidden(pooled, x))

    def pool(self, activations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Pooled activations (n, H, P): each channel's mean over the region and where in the region it lies.

        The latter are its first moments about the region's centre, in standard deviations of the region along rows and
        columns: 0 for a channel that is even over the region. Patches are centred on their region and medial is always
        one way, so they tell a spot's anatomical place, which no mean can.
        """
        views = weights * _places(weights)
        pooled = torch.stack([(activations * views[:, m : m + 1]).sum(dim=(2, 3)) for m in range(MOMENTS)], dim=2)
        return pooled.reshape(-1, self.heads, self.pooled)

    def score(
        self, maps: torch.Tensor, weights: torch.Tensor, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-odds (n, H) and pooled (n, H, P) from features in the bundle's common standardisation."""
        pooled = self.pool(self.reader(maps), weights)
        return self.head(pooled, features), pooled


def _places(weights: torch.Tensor) -> torch.Tensor:
    """Ones, and each cell's row and column (n, MOMENTS, h, w) from the centre of ``weights`` in SDs of them."""
    rows, columns = (torch.arange(int(n), dtype=weights.dtype, device=weights.device) for n in weights.shape[2:])
    even = weights * 0 + 1
    places = [even]
    for axis in (even * rows[:, None], even * columns):
        away = axis - (weights * axis).sum(dim=(2, 3), keepdim=True)
        spread = (weights * away * away).sum(dim=(2, 3), keepdim=True).clamp_min(_SMALLEST_SPREAD**2).sqrt()
        places.append(away / spread)
    return torch.cat(places, dim=1)


def region_weights(patches: torch.Tensor, stride: int, pooling: str) -> torch.Tensor:
    """Pooling weights (n, 1, h, w) from patches (n, c, H, W): the region's share of each cell, or all cells alike.

    Without a mask channel, or with ``global`` pooling, every cell weighs the same.
    """
    if pooling == "global" or patches.shape[1] < 2:
        share = F.avg_pool2d(patches[:, :1], stride) * 0 + 1
    else:
        share = F.avg_pool2d(patches[:, 1:2], stride) + 1e-6
    return share / share.sum(dim=(2, 3), keepdim=True)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """He's uniform initialisation (He et al., ICCV 2015)."""
    bound = (6.0 / fan_in) ** 0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
