"""The protocol's six models as settings of one code path."""

from __future__ import annotations

from dataclasses import dataclass

from cnsifusion.errors import BadInput

BACKBONES = ("densenet201", "mobilenet_v3_large")


@dataclass(frozen=True)
class ModelSettings:
    """One model.

    ``backbone``: a torchvision network, or None for radiomics alone. ``aspp``: atrous spatial pyramid pooling on its
    map (else a plain 1x1 adapter). ``radiomics``: whether the head sees an embedding of the selected features.
    ``classifier``: ``network`` (the head), or for radiomics alone ``logistic`` | ``boosting``.

    ``map_channels``: width of the fixed projection of the backbone's map; ``pooled``: channels of the adapter and of
    each ASPP branch, each pooled to a mean and two moments for the head; ``embedding``, ``hidden``: widths of the
    feature embedding and of the head; ``pooling``: mean over the ``region`` or over the whole (``global``) map;
    ``clip``: standardised features are held within +- this many SD.
    ``narrow_window`` and ``wide_window`` (units of a patch: ten robust SD of white matter, white matter at 0) are the
    two intensity windows shown to the backbone beside the region's mask.
    """

    name: str
    backbone: str | None = None
    aspp: bool = False
    radiomics: bool = True
    classifier: str = "network"
    stride: int = 8
    map_channels: int = 128
    rates: tuple[int, ...] = (1, 2, 4)
    pooled: int = 16
    embedding: int = 8
    hidden: int = 16
    pooling: str = "region"
    clip: float = 4.0
    narrow_window: tuple[float, float] = (-0.6, 2.0)
    wide_window: tuple[float, float] = (-2.0, 5.0)

    def __post_init__(self) -> None:
        """Raises BadInput for a combination that is not a model."""
        if self.backbone is not None and self.backbone not in BACKBONES:
            raise BadInput(f"Unknown backbone {self.backbone}; use one of {', '.join(BACKBONES)}.")
        if self.backbone is None and (self.aspp or not self.radiomics or self.classifier == "network"):
            raise BadInput("A model without a backbone must be a logistic or boosting model of radiomics.")
        if self.backbone is not None and self.classifier != "network":
            raise BadInput("A model with a backbone uses the network's own classifier.")
        if self.classifier not in ("network", "logistic", "boosting") or self.pooling not in ("region", "global"):
            raise BadInput("Unknown classifier or pooling.")
        if self.stride not in (4, 8, 16, 32) or not 1 <= self.map_channels <= 256:
            raise BadInput("The map's stride must be 4, 8, 16 or 32 and its channels at most 256.")
        if min(self.pooled, self.embedding, self.hidden, *self.rates) < 1 or self.clip <= 0:
            raise BadInput("Widths, rates and clip must be above 0.")
        if any(low >= high for low, high in (self.narrow_window, self.wide_window)):
            raise BadInput("An intensity window must go from low to high.")


MODELS = {
    m.name: m
    for m in (
        ModelSettings("dense-aspp-radfusion", "densenet201", aspp=True),
        ModelSettings("mobile-aspp-radfusion", "mobilenet_v3_large", aspp=True),
        ModelSettings("densenet201", "densenet201", radiomics=False),
        ModelSettings("mobilenetv3-large", "mobilenet_v3_large", radiomics=False),
        ModelSettings("radiomics-logistic", classifier="logistic"),
        ModelSettings("radiomics-boosting", classifier="boosting"),
    )
}


def get_model(name: str) -> ModelSettings:
    """Settings of a model by its name on the command line; raises BadInput for an unknown one."""
    if name not in MODELS:
        raise BadInput(f"Unknown model {name}; use one of {', '.join(MODELS)}.")
    return MODELS[name]
