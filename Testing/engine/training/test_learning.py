"""What a network learns from: its own patients alone, copies that respect anatomy, targets that lie where they belong.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from experiments import open_experiment  # noqa: E402
from planted_cohort import make_cohort  # noqa: E402

from cnsifusion.models.backbones import load_backbone, random_backbone, save_backbone  # noqa: E402
from cnsifusion.models.settings import get_model  # noqa: E402
from cnsifusion.training import finetune as finetuning  # noqa: E402
from cnsifusion.training.augment import augment  # noqa: E402
from cnsifusion.training.experiment import Experiment  # noqa: E402
from cnsifusion.training.finetune import Weights, finetune  # noqa: E402
from cnsifusion.training.learners import _logistic, candidates  # noqa: E402
from cnsifusion.training.maps import Maps  # noqa: E402
from cnsifusion.training.networks import Plan, _batches, _drop, loss_weights, train_heads  # noqa: E402
from cnsifusion.training.pretrain import _crop, cell_targets, pretrain  # noqa: E402
from cnsifusion.training.selection import Selection  # noqa: E402
from cnsifusion.training.settings import TrainingSettings  # noqa: E402

SETTINGS = TrainingSettings(checkpoints=(1, 2), batch=8, augmentations=0)
MODEL = replace(get_model("mobilenetv3-large"), map_channels=12)


@pytest.fixture
def cohort(tmp_path):
    """Eight patients with 1 to 3 instances each."""
    return make_cohort(tmp_path / "cases", patients=8, instances=[1, 2, 3, 1, 2, 3, 1, 2])


@pytest.fixture
def rows(cohort):
    """The twelve instances of all but the first two patients."""
    return np.flatnonzero(cohort.patient >= 2)


def labels_turned_outside(cohort):
    """Other labels, the patients' in ``rows`` as they were."""
    return cohort.with_labels(np.where(np.arange(8) >= 2, cohort.labels, 1 - cohort.labels))


def chosen(*columns):
    """A selection of features that leaves their numbers as they are."""
    count = len(columns)
    return Selection(np.array(columns), np.zeros(count), np.zeros(count), np.ones(count))


def test_a_head_learns_from_its_own_patients_alone(cohort, rows):
    """Beside a member that sees them, the numbers of other patients do not reach this one: every weight is the same."""
    everyone, random = np.arange(len(cohort.patient)), np.random.default_rng(0)
    values = random.normal(size=(2, len(everyone), 12, 4, 4)).astype(np.float16)
    weights = np.full((2, len(everyone), 4, 4), 1 / 16, np.float16)
    other = values.copy()
    other[:, :3] *= 3
    plan = Plan(MODEL, SETTINGS, [everyone, rows], None, 0.01, 4)
    one = train_heads(cohort, Maps(values, weights), plan)
    two = train_heads(labels_turned_outside(cohort), Maps(other, weights), plan)
    seeded = replace(plan, seed=5, settings=replace(SETTINGS, learning_rate=1e-9))
    still = [train_heads(cohort, Maps(values, weights), replace(seeded, seed=seed)).logits for seed in (5, 5, 6)]
    assert np.array_equal(still[0], still[1]) and np.abs(still[0] - still[2]).max() > 0.1, "all seeds begin alike"
    assert np.array_equal(one.logits[:, rows, 1], two.logits[:, rows, 1])
    assert not np.array_equal(one.logits[:, rows, 0], two.logits[:, rows, 0])
    assert not np.array_equal(one.logits[0], one.logits[1]), "an epoch taught it nothing"
    for name, state in one.states[-1].items():
        assert np.array_equal(state, two.states[-1][name]), name
    plain = values[0, rows].astype(np.float64).transpose(1, 0, 2, 3).reshape(12, -1)
    assert one.states[-1]["reader.map_mean"][0] == pytest.approx(plain.mean(axis=1), abs=1e-4)
    assert one.states[-1]["reader.map_scale"][0] == pytest.approx(1 / plain.std(axis=1), rel=1e-3)


@pytest.mark.parametrize("name", ["radiomics-logistic", "radiomics-boosting", "mobile-aspp-radfusion"])
def test_members_of_inner_folds_choose_and_learn_from_their_own_patients_alone(tmp_path, name):
    """As in the inner folds: the first member may know nothing of the patients that it is judged on."""
    cohort = make_cohort(tmp_path / "more", patients=24, instances=2)
    everyone = np.arange(48)
    rows, outside = everyone[16:], everyone[:16]
    labels = np.where(np.arange(24) < 8, 1 - cohort.labels, cohort.labels)
    other = replace(cohort.with_labels(labels), features=cohort.features.copy(), altered=cohort.altered.copy())
    other.features[outside] = 5 - 2 * other.features[outside]
    other.altered[:, outside] = 9
    maps = Maps(np.random.default_rng(0).normal(size=(1, 48, 12, 4, 4)).astype(np.float16),
                np.full((1, 48, 4, 4), 1 / 16, np.float16))  # fmt: skip
    model, settings = replace(get_model(name), map_channels=12), replace(SETTINGS, feature_counts=(4,))
    source = maps if model.backbone else None
    found = [list(candidates(c, source, model, settings, [rows, everyone], 0)) for c in (cohort, other)]
    assert len(found[0]) == (4 if model.backbone else 2), "both selectors, and for networks both numbers of epochs"
    for one, two in zip(*found):
        assert np.array_equal(one.selections[0].columns, two.selections[0].columns)
        assert np.array_equal(one.logits[rows, 0], two.logits[rows, 0]) and one.name == two.name
        assert not np.array_equal(one.logits[rows, 1], two.logits[rows, 1])
    if model.backbone:
        first = found[0][:2]  # of one selector
        fitted = train_heads(cohort, maps, Plan(model, settings, [rows, everyone], first[0].selections, 0.01, 0))
        for epochs, one in enumerate(first, start=1):
            assert one.name.endswith(f" {epochs} epochs") and np.array_equal(one.logits, fitted.logits[epochs - 1])


def test_a_patient_of_many_instances_counts_once_in_a_logistic_model(cohort, rows):
    one, single = np.flatnonzero(cohort.patient == 3), [chosen(0, 3)]
    repeated = np.concatenate([np.arange(15), np.repeat(one, 4)])
    many = replace(cohort, patient=cohort.patient[repeated], features=cohort.features[repeated])
    model = [_logistic(c, [np.flatnonzero(c.patient >= 2)], single, "", 0).state for c in (cohort, many)]
    assert model[0]["weight"] == pytest.approx(model[1]["weight"], abs=1e-3)
    assert len(one) == 1 and np.abs(model[0]["weight"]).min() > 0.01


def test_altered_copies_dropout_and_clipping_are_used(cohort, rows):
    values = np.stack([np.full((15, 12, 4, 4), version, np.float16) for version in (0, 1)])
    maps = Maps(values, np.full((2, 15, 4, 4), 1 / 16, np.float16))
    generator = torch.Generator().manual_seed(0)
    batches = list(_batches(rows, maps, 5, generator))
    assert sorted(torch.cat([batch for batch, _, _ in batches]).tolist()) == rows.tolist()
    assert {float(v) for _, shown, _ in batches for v in shown[:, 0, 0, 0]} == {0, 1}
    dropped = _drop(torch.ones(200, 30, 2, 2), 0.25, generator)
    assert (dropped == dropped[:, :, :1, :1]).all() and dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    cohort.features[0, :2] = 1e6, -1e6
    seen = Plan(MODEL, SETTINGS, [rows, rows], [chosen(0, 1, 2), chosen(0, 1)], 0.0, 4).features(cohort).numpy()
    assert seen.shape == (15, 2, 1, 3) and not seen[:, 1, 0, 2].any()
    assert seen[0, :, 0, :2].tolist() == [[4, -4], [4, -4]]
    assert seen[1, 0, 0] == pytest.approx(cohort.features[1, :3].clip(-4, 4))


def test_every_patient_weighs_the_same_however_many_instances(cohort, rows):
    weights = loss_weights(cohort, [rows, np.arange(len(cohort.patient))]).numpy()
    assert np.bincount(cohort.patient, weights[:, 0]) == pytest.approx([0, 0] + [2.0] * 6)
    assert weights[rows, 0].mean() == pytest.approx(1)
    assert np.bincount(cohort.patient, weights[:, 1]) == pytest.approx([15 / 8] * 8)


def test_a_fine_tuned_network_learns_from_its_own_patients_alone(cohort, rows, tmp_path, monkeypatch):
    model, path = get_model("mobile-aspp-radfusion"), tmp_path / "weights.pt"
    weights = Weights(str(path), save_backbone(random_backbone(model, 0), path))
    settings = replace(SETTINGS, learning_rate=0.01)
    plan = Plan(model, settings, [rows, rows], [chosen(0, 1), chosen(2, 3)], 0.0, 4)
    one = finetune(cohort, weights, plan).logits
    alone = replace(plan, training=[rows], selections=[chosen(0, 1)])
    still = finetune(cohort, weights, replace(alone, settings=replace(settings, learning_rate=1e-7))).logits
    assert np.allclose(still[0], still[1], atol=1e-3), "normalisations took statistics of the batches"
    assert not np.allclose(still[0, 0], still[0, 1], atol=1e-2), "all instances look alike"
    for patient in (0, 1):
        with np.load(cohort.cases[patient]) as case:
            np.savez(cohort.cases[patient], patches=case["patches"] * 3, side=case["side"])
    other = replace(labels_turned_outside(cohort), side=np.where(cohort.patient < 2, "none", cohort.side))
    two = finetune(other, weights, replace(plan, selections=[chosen(2, 3), chosen(2, 3)])).logits
    assert np.array_equal(one[:, rows, 1], two[:, rows, 1]) and not np.array_equal(one[:, :3, 1], two[:, :3, 1])
    assert not np.allclose(one[:, rows, 0], two[:, rows, 0]), "its own features make no difference"
    monkeypatch.setattr(finetuning, "_BACKBONE_PACE", 0)
    three = finetune(cohort, weights, alone).logits
    assert not np.allclose(one[:, rows, :1], three[:, rows], atol=1e-3), "the backbone stood still"


def test_altered_copies_keep_medial_medial_and_the_region_with_its_picture():
    """A bright block lateral to the middle: turned by a few degrees at most, and flipped in mid-line parts alone."""
    patch = np.zeros((2, 40, 40), np.float32)
    patch[:, 6:14, 26:36] = [[[20]], [[1]]]
    side = np.array(["left", "right", "none"] * 40)
    copies = augment(np.stack([patch] * len(side)), side, np.random.default_rng(0))
    lateral = copies[:, :, 6:14, 26:36].mean(axis=(2, 3)) > copies[:, :, 6:14, 4:14].mean(axis=(2, 3))
    assert lateral[side != "none"].all() and 8 < lateral[side == "none", 1].sum() < 32
    assert (copies[:, :, 6:14].mean(axis=(1, 2, 3)) > copies[:, :, 26:34].mean(axis=(1, 2, 3))).all(), "upside down"
    edges = [np.ptp(np.nonzero(copy)[0]) for copy in copies[:, 1]]
    assert min(edges) == 7 < max(edges) <= 9, "turned by up to six degrees"
    for picture, region in copies:
        assert set(np.unique(region)) == {0, 1}
        assert ((picture > 10) != (region > 0)).sum() < 0.15 * region.sum(), "the region lies beside its picture"


def test_altered_copies_that_are_not_turned_and_regions_of_one_pixel():
    patch = np.zeros((2, 40, 40), np.float32)
    patch[1, 1, 1] = 1  # turned, it would leave the picture
    patch[0] = -4  # air: gain and bias act on the signal above it
    for turn in (True, False):
        copies = augment(np.stack([patch] * 20), np.array(["none"] * 20), np.random.default_rng(0), turn=turn)
        assert copies[:, 1].any(axis=(1, 2)).all()
        assert turn or (copies[:, 1] == patch[1]).all()
        assert np.abs(copies[:, 0] + 4).max() < 0.15 and 0.015 < copies[:, 0].std() < 0.025
    signal = augment(np.stack([patch * 0] * 200), np.array(["left"] * 200), np.random.default_rng(0), turn=False)[:, 0]
    assert 0.06 < signal.mean(axis=(1, 2)).std() < 0.1, "a gain of 2 % of a signal of 4"


def test_what_a_cell_must_tell_lies_where_the_picture_shows_it():
    """Brightness, its square, round bright and dark things of three sizes; then the largest response in the cell."""
    picture = np.zeros((64, 80))
    rows, columns = np.mgrid[:64, :80]
    for size, row, column, sign in ((1.0, 12, 20, 1), (4.0, 44, 60, -1)):
        picture += sign * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2))
    found = cell_targets(picture, 8)
    assert found.shape == (20, 8, 10) and found.dtype == np.float32
    places = [tuple(int(i) for i in np.unravel_index(channel.argmax(), channel.shape)) for channel in found]
    small, large = (1, 2), (5, 7)
    assert places[0] == small and places[1] == large  # the dark thing is large: its square stands out
    for start in (2, 11):  # bright, dark and squared bright at 1, 2 and 4 pixels: means, then maxima
        assert places[start] == small and places[start + 7] == large, start
    response = {sigma: found[11 + 3 * n, 1, 2] for n, sigma in enumerate((1.0, 2.0, 4.0))}
    dark = {sigma: found[12 + 3 * n, 5, 7] for n, sigma in enumerate((1.0, 2.0, 4.0))}
    widths = max(response, key=response.get), max(dark, key=dark.get)
    assert widths == (1.0, 4.0), "the width of a thing is that of the filter that answers most"
    assert found[2 + 2].max() == pytest.approx(found[2 + 2][small])


def test_a_crop_keeps_pictures_and_targets_together():
    random = np.random.default_rng(0)
    cells = np.arange(2 * 10 * 12, dtype=np.float32).reshape(2, 1, 10, 12)
    patches = np.repeat(np.repeat(cells, 8, axis=2), 8, axis=3)
    seen = set()
    for _ in range(20):
        images, wanted = _crop(patches, cells, 8, random)
        assert images.shape == (2, 1, 64, 64) and np.array_equal(images[:, :, ::8, ::8], wanted)
        seen.add(float(wanted[0, 0, 0, 0]))
    assert len(seen) > 4


def test_pre_training_learns_what_the_pictures_show(tmp_path, monkeypatch):
    """Ten steps take the loss to a third; with targets of other pictures it stays above half of that of the start."""
    cohort, told = make_cohort(tmp_path / "more", patients=12, instances=3, spot=3.0), []
    experiment = open_experiment(tmp_path, cohort, progress=lambda done, total, name: told.append(name))
    monkeypatch.setattr(Experiment, "cohort", lambda self: cohort)
    sha256 = pretrain(experiment, get_model("mobilenetv3-large"), tmp_path / "weights.pt", 10, 1)
    losses = [float(name.split("loss ")[1].strip(")")) for name in told]
    assert len(losses) == 10 and np.mean(losses[-3:]) < losses[0] / 2
    assert not load_backbone(get_model("mobilenetv3-large"), tmp_path / "weights.pt", sha256).training
