"""The classifier head in numpy: its weights as read from ``head.onnx``, its output, and exact contributions to it.

The head of one ensemble member is: z = clip(x * scale + shift, -limit, limit); e = relu(z W_e + b_e);
h = relu(p W_p + e W_h + b_h); logit = h w_o + b_o, with x the standardised features and p the pooled map.

Contributions are Aumann-Shapley values (Aumann and Shapley, Values of Non-Atomic Games, 1974; for networks
"integrated gradients": Sundararajan, Taly, Yan, ICML 2017) along the straight line from the mean training instance to
the patient's instance.
The head is piecewise linear, so the integral is computed exactly, interval by interval between its kinks, and the parts
sum to the instance's log-odds (completeness) up to round-off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnsifusion.bundles.wire import Graph, GraphError

#: Names and ranks of the weights in head.onnx; H heads, F features, E embedding, P pooled channels, D hidden units.
WEIGHT_SHAPES = {
    "scale": "H1F",
    "shift": "H1F",
    "limit": "",
    "embed_weight": "HFE",
    "embed_bias": "H1E",
    "hidden_pooled": "HPD",
    "hidden_embed": "HED",
    "hidden_bias": "H1D",
    "out_weight": "HD1",
    "out_bias": "H11",
}


@dataclass(frozen=True)
class HeadWeights:
    """Weights of all heads, float64, shaped as WEIGHT_SHAPES says."""

    scale: np.ndarray
    shift: np.ndarray
    limit: np.ndarray
    embed_weight: np.ndarray
    embed_bias: np.ndarray
    hidden_pooled: np.ndarray
    hidden_embed: np.ndarray
    hidden_bias: np.ndarray
    out_weight: np.ndarray
    out_bias: np.ndarray

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.scale.shape[0]

    def logits(self, pooled: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Log-odds (n, H) of pooled maps (n, H, P) and standardised features (n, F)."""
        columns = [self._one(h, pooled[:, h], features)[0] for h in range(self.heads)]
        return np.stack(columns, axis=1)

    def _one(self, head: int, pooled: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        raw = features * self.scale[head] + self.shift[head]
        clipped = np.clip(raw, -self.limit, self.limit)
        before_embedding = clipped @ self.embed_weight[head] + self.embed_bias[head]
        embedded = np.maximum(before_embedding, 0)
        before_hidden = pooled @ self.hidden_pooled[head] + embedded @ self.hidden_embed[head] + self.hidden_bias[head]
        logit = np.maximum(before_hidden, 0) @ self.out_weight[head] + self.out_bias[head]
        return logit[:, 0], (raw, before_embedding, before_hidden)


@dataclass(frozen=True)
class Contributions:
    """Log-odds of one instance, taken apart: ``baseline`` (the mean training instance) + one number per feature +
    ``network`` (all that comes through the pooled map) = its logit (mean over heads)."""

    features: dict[str, float]
    network: float
    baseline: float


def read_head(graph: Graph) -> HeadWeights:
    """The weights in a parsed ``head.onnx``; raises GraphError if one is missing or does not fit the others."""
    sizes: dict[str, int] = {"1": 1}
    arrays = {}
    # The exporter stores equal weights once and hands them on by Identity.
    same = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.op == "Identity"}
    for name, dimensions in WEIGHT_SHAPES.items():
        array = graph.initializers.get(same.get(name, name))
        if array is None or array.ndim != len(dimensions) or array.dtype != np.dtype("<f4"):
            raise GraphError(f"lacks the weight {name} in the form this program writes")
        for letter, size in zip(dimensions, array.shape):
            if sizes.setdefault(letter, size) != size:
                raise GraphError(f"has a weight {name} whose shape does not fit the others")
        if not np.isfinite(array).all():
            raise GraphError(f"has a weight {name} that is not finite")
        arrays[name] = array.astype(np.float64)
    return HeadWeights(**arrays)


def contributions(
    head: HeadWeights,
    names: list[str],
    pooled: np.ndarray,
    features: np.ndarray,
    base_pooled: np.ndarray,
    base_features: np.ndarray,
) -> Contributions:
    """Exact contributions of one instance, averaged over the heads.

    ``pooled`` and ``base_pooled`` are (H, P), ``features`` and ``base_features`` (F,) standardised. ``names`` may be
    shorter than F only where the model has no features and F is one constant zero.
    """
    per_feature, network = np.zeros(features.size), 0.0
    for h in range(head.heads):
        gradient_p, gradient_x = _mean_gradient(head, h, pooled[h], features, base_pooled[h], base_features)
        per_feature += gradient_x * (features - base_features)
        network += float(gradient_p @ (pooled[h] - base_pooled[h]))
    count = head.heads
    baseline = float(head.logits(base_pooled[None], base_features[None]).mean())
    by_name = {name: float(value) / count for name, value in zip(names, per_feature)}
    return Contributions(by_name, network / count, baseline)


def _mean_gradient(
    head: HeadWeights, h: int, pooled: np.ndarray, features: np.ndarray, base_p: np.ndarray, base_x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of head ``h``'s logit with respect to pooled (P,) and features (F,), averaged along the line."""
    times = np.array([0.0, 1.0])
    limits = (np.array([-float(head.limit), float(head.limit)]), np.zeros(1), np.zeros(1))
    for layer, levels in enumerate(limits):
        values = _along(head, h, times, pooled, features, base_p, base_x)[layer]
        times = _with_crossings(times, values, levels)
    middle, width = (times[1:] + times[:-1]) / 2, np.diff(times)
    raw, before_embedding, before_hidden = _along(head, h, middle, pooled, features, base_p, base_x)
    to_hidden = (before_hidden > 0) * head.out_weight[h][:, 0]
    to_embedding = (before_embedding > 0) * (to_hidden @ head.hidden_embed[h].T)
    to_features = (np.abs(raw) < head.limit) * (to_embedding @ head.embed_weight[h].T) * head.scale[h]
    return width @ (to_hidden @ head.hidden_pooled[h].T), width @ to_features


def _along(
    head: HeadWeights,
    h: int,
    times: np.ndarray,
    pooled: np.ndarray,
    features: np.ndarray,
    base_p: np.ndarray,
    base_x: np.ndarray,
) -> tuple[np.ndarray, ...]:
    t = times[:, None]
    return head._one(h, base_p + t * (pooled - base_p), base_x + t * (features - base_x))[1]


def _with_crossings(times: np.ndarray, values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """``times`` plus every moment at which a column of ``values`` (times, units), linear between, meets a level."""
    found = [times]
    for level in levels:
        before, after = values[:-1] - level, values[1:] - level
        row, column = np.nonzero(before * after < 0)
        share = before[row, column] / (before[row, column] - after[row, column])
        found.append(times[row] + share * (times[row + 1] - times[row]))
    return np.unique(np.concatenate(found))
