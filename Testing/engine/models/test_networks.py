"""Networks: the stride they promise, places and context in the pooled maps, independent heads, backbones from files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
import torchvision  # noqa: E402

from cnsifusion.errors import BadInput  # noqa: E402
from cnsifusion.inference import new_session  # noqa: E402
from cnsifusion.models.backbones import (  # noqa: E402
    imagenet_backbone,
    load_backbone,
    pretraining_patients,
    random_backbone,
    save_backbone,
    weights_sha256,
)
from cnsifusion.models.export import ExportedModel, export_model  # noqa: E402
from cnsifusion.models.fusion import MOMENTS, RadFusion, region_weights  # noqa: E402
from cnsifusion.models.settings import MODELS, ModelSettings, get_model  # noqa: E402

MOBILE = get_model("mobile-aspp-radfusion")


@pytest.fixture(autouse=True)
def seeded():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def patches(count=3, size=48):
    image = torch.randn(count, 1, size, size)
    return torch.cat([image, (torch.rand(count, 1, size, size) > 0.7).float()], dim=1)


def trained(fusion):
    """``fusion`` with an ASPP that says something, as after some steps of training."""
    with torch.no_grad():
        for weight in getattr(fusion.reader, "mix", ()):
            weight.normal_(0, 0.3)
    return fusion


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "densenet201"])
def test_the_map_has_stride_8_and_signal(name):
    model = ModelSettings("test", name, radiomics=False)
    with torch.no_grad():
        maps = random_backbone(model, 1)(patches())
    assert maps.shape == (3, 128, 6, 6)
    assert 1e-3 < maps.std() < 1e3
    assert (maps[0] - maps[1]).abs().max() > 1e-2 * maps.std()


def test_dilation_keeps_the_weights_of_torchvision():
    """At its own stride the backbone is torchvision's network, so published checkpoints fit."""
    model = ModelSettings("test", "mobilenet_v3_large", radiomics=False, stride=32)
    reference = torchvision.models.mobilenet_v3_large(weights=None).features.eval()
    backbone = random_backbone(model, 1)
    backbone.features.load_state_dict(reference.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone.features(image), reference(image))


def test_heads_side_by_side_are_heads_one_by_one():
    both = trained(RadFusion(MOBILE, heads=2, features=3))
    one = RadFusion(MOBILE, heads=1, features=3)
    state = {}
    for name, tensor in both.state_dict().items():
        share = tensor.shape[0] // 2 if tensor.ndim else 0
        state[name] = tensor[share:] if tensor.ndim else tensor
    one.load_state_dict(state)
    maps, weights = torch.randn(2, 128, 6, 6), region_weights(patches(2), 8, "region")
    x = torch.randn(2, 1, 1, 3)
    together = both(maps, weights, x.expand(2, 2, 1, 3))
    assert torch.allclose(together[:, 1:], one(maps, weights, x), atol=1e-6)
    assert not torch.allclose(together[:, :1], together[:, 1:], atol=1e-3)


def test_aspp_starts_as_the_plain_adapter_and_learns_context():
    plain, aspp = RadFusion(get_model("mobilenetv3-large"), 2, 3).reader, RadFusion(MOBILE, 2, 3).reader
    aspp.load_state_dict(plain.state_dict(), strict=False)
    maps = torch.randn(1, 128, 6, 6)
    assert torch.equal(aspp(maps), plain(maps))
    aspp(maps).square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in aspp.mix)
    trained_reader, elsewhere = trained(RadFusion(MOBILE, 2, 3)).reader, maps.clone()
    elsewhere[:, :, 5, 5] += 5
    assert not torch.allclose(trained_reader(maps)[..., 1, 1], trained_reader(elsewhere)[..., 1, 1], atol=1e-3)


def test_where_a_spot_lies_matters_to_a_reader_without_neighbours():
    """The plain adapter sees cell by cell, and a mean forgets where: the first moments tell left from right."""
    model = ModelSettings("test", "mobilenet_v3_large", radiomics=False)
    fusion = RadFusion(model, 1, 1).eval()
    maps = torch.zeros(2, 128, 6, 6)
    maps[0, :, 2, 1], maps[1, :, 2, 4] = 2.0, 2.0
    shares, none = torch.full((2, 1, 6, 6), 1 / 36), torch.zeros(2, 1, 1, 1)
    with torch.no_grad():
        pooled = fusion.pool(fusion.reader(maps), shares).reshape(2, model.pooled, MOMENTS)
        one, other = fusion(maps, shares, none)
    assert torch.allclose(pooled[0, :, :2], pooled[1, :, :2], atol=1e-6)  # as bright, in the same row
    assert torch.allclose(pooled[0, :, 2], -pooled[1, :, 2], atol=1e-6)  # mirrored about the region's centre
    assert pooled[0, :, 2].abs().max() > 1e-3
    assert abs(one - other) > 1e-4


def test_moments_are_counted_from_the_regions_centre():
    """A region elsewhere in the patch gives the same moments, and an even channel gives none."""
    fusion = RadFusion(ModelSettings("test", "mobilenet_v3_large", radiomics=False), 1, 1)
    weights, activations = torch.zeros(2, 1, 6, 6), torch.zeros(2, 16, 6, 6)
    for n, (row, column) in enumerate(((0, 0), (2, 3))):
        weights[n, 0, row : row + 3, column : column + 3] = 1 / 9
        activations[n, :8, row, column + 2] = 1.0
    activations[:, 8:] = 7.0
    with torch.no_grad():
        pooled = fusion.pool(activations, weights).reshape(2, 16, MOMENTS)
    assert torch.allclose(pooled[0], pooled[1], atol=1e-5)
    spread = (2 / 3) ** 0.5
    assert torch.allclose(pooled[0, 0], torch.tensor([1.0, -1 / spread, 1 / spread]) / 9, atol=1e-5)
    assert torch.allclose(pooled[0, 8], torch.tensor([7.0, 0.0, 0.0]), atol=1e-5)


def test_region_weights():
    image = torch.zeros(1, 2, 16, 16)
    image[0, 1, :8, :8] = 1
    assert torch.allclose(region_weights(image, 8, "region")[0, 0], torch.tensor([[1.0, 0], [0, 0]]), atol=1e-5)
    assert torch.allclose(region_weights(image, 8, "global"), torch.full((1, 1, 2, 2), 0.25))
    assert torch.allclose(region_weights(image[:, :1], 8, "region"), torch.full((1, 1, 2, 2), 0.25))


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if m.backbone])
def test_onnx_gives_torchs_probabilities(name):
    model = get_model(name)
    exported = ExportedModel(model, random_backbone(model, 2), trained(RadFusion(model, 2, 4))).eval()
    images, features = patches(2, 32), torch.randn(2, 4)
    with torch.no_grad():
        expected = exported(images, features)
    session = new_session(export_model(exported, (2, 32, 32), half=False))
    found = session.run(None, {"patches": images.numpy(), "features": features.numpy()})
    sigmoid = [1 / (1 + np.exp(-v)) for v in (expected[0].numpy(), found[0])]
    assert np.abs(sigmoid[0] - sigmoid[1]).max() < 1e-4
    assert np.allclose(found[1], expected[1].numpy(), atol=1e-3 * expected[1].abs().max().item() + 1e-6)


def test_half_weights_are_those_of_the_convolutions_and_mean_the_rounded_ones():
    exported = ExportedModel(MOBILE, random_backbone(MOBILE, 2), trained(RadFusion(MOBILE, 2, 4))).eval()
    full, half = (export_model(exported, (2, 32, 32), half) for half in (False, True))
    assert len(half) < 0.55 * len(full)
    rounded, stored = onnx.load_from_string(full), onnx.load_from_string(half).graph.initializer
    convolved = {node.input[1] for node in rounded.graph.node if node.op_type == "Conv"}
    of_half = {tensor.name for tensor in stored if tensor.data_type == onnx.TensorProto.FLOAT16}
    assert of_half == {f"{name}_half" for name in convolved} and len(stored) == len(rounded.graph.initializer)
    for tensor in rounded.graph.initializer:
        if tensor.name in convolved:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16).astype(np.float32), tensor.name))
    given = {"patches": patches(2, 32).numpy(), "features": torch.randn(2, 4).numpy()}
    found, expected = (new_session(data).run(None, given) for data in (half, rounded.SerializeToString()))
    assert all(np.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(found, expected))


def test_backbone_files(tmp_path):
    backbone = random_backbone(MOBILE, 4)
    sha256 = save_backbone(backbone, tmp_path / "b.pt")
    assert save_backbone(backbone, tmp_path / "other name.pt") == sha256
    again = load_backbone(MOBILE, tmp_path / "b.pt", sha256)
    assert weights_sha256(again) == weights_sha256(backbone) != weights_sha256(random_backbone(MOBILE, 5))
    with pytest.raises(BadInput, match="SHA-256"):
        load_backbone(MOBILE, tmp_path / "b.pt", "0" * 64)
    with pytest.raises(BadInput, match="do not fit densenet201"):
        load_backbone(get_model("densenet201"), tmp_path / "b.pt", sha256)
    assert pretraining_patients(tmp_path / "b.pt") == frozenset()
    patients = ["ab" * 32, "01" * 32]
    sha256 = save_backbone(backbone, tmp_path / "met.pt", patients)
    assert save_backbone(backbone, tmp_path / "met.pt", patients[::-1]) == sha256
    assert pretraining_patients(tmp_path / "met.pt") == frozenset(patients)
    assert weights_sha256(load_backbone(MOBILE, tmp_path / "met.pt", sha256)) == weights_sha256(backbone)
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(BadInput, match="file of tensors"):
        load_backbone(MOBILE, tmp_path / "list.pt")
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    with pytest.raises(BadInput, match="cannot be read"):
        load_backbone(MOBILE, tmp_path / "bad.pt")


def test_an_imagenet_checkpoint_fits(tmp_path):
    """torchvision's file of the whole classifier, as published (with DenseNet's old names)."""
    import hashlib

    reference = torchvision.models.densenet201(weights=None)
    state = {}
    for key, value in reference.state_dict().items():
        if "denselayer" in key:
            for old, new in (("norm1", "norm.1"), ("norm2", "norm.2"), ("conv1", "conv.1"), ("conv2", "conv.2")):
                key = key.replace(f".{old}.", f".{new}.")
        state[key] = value
    path = tmp_path / "densenet201.pth"
    torch.save(state, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    backbone = imagenet_backbone(get_model("densenet201"), path, sha256)
    expected = dict(reference.features.state_dict())
    assert all(torch.equal(v, expected[k]) for k, v in backbone.features.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "resnet"}, {"backbone": None, "classifier": "network"}, {"backbone": None, "aspp": True},
        {"classifier": "logistic"}, {"pooling": "max"}, {"stride": 5}, {"map_channels": 257}, {"pooled": 0},
        {"narrow_window": (1.0, 0.0)},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(change):
    with pytest.raises(BadInput):
        ModelSettings(**{"name": "x", "backbone": "densenet201", **change})


def test_unknown_model():
    with pytest.raises(BadInput, match="Unknown model"):
        get_model("resnet")
