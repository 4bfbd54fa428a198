"""Region files: round trips, foreign files, geometry, and every way a file can be wrong."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid, Volume
from cnsifusion.imaging.grid import snap
from cnsifusion.roi import region_files
from cnsifusion.roi.names import PVS_LEFT, SEGMENTS, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.region_fit import fit_to_grid
from cnsifusion.roi.region_io import read_regions, stored_segments, write_regions
from cnsifusion.roi.regions import Focus, Plane, RegionSet
from cnsifusion.roi.tools.parts import assign_parts


def oblique_grid(size=(40, 36, 12), angle=0.15):
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return snap(Grid(size, (0.6, 0.7, 4.4), (-12.34, -20.5, 33.21), tuple(matrix.ravel())))


def head(size=(40, 36, 12)):
    grid = oblique_grid(size)
    return Volume(np.random.default_rng(1).normal(100, 10, grid.shape).astype(np.float32), grid)


def regions_of(volume):
    regions = RegionSet(volume.grid)
    blank = np.zeros(volume.grid.shape, bool)
    ventricles, left, right, pvs = (blank.copy() for _ in range(4))
    ventricles[3:8, 10:20, 14:26] = True
    left[4:6, 22:30, 26:36] = True
    right[4:6, 22:30, 4:14] = True
    pvs[4, 25:27, 30:32] = True
    pvs[6, 25:27, 30:32] = True
    regions.masks = {VENTRICLES: ventricles, SUBLENTIFORM_LEFT: left, SUBLENTIFORM_RIGHT: right, PVS_LEFT: pvs}
    regions.parts = np.where(ventricles, 1, 0).astype(np.uint8)
    regions.parts[3:5][ventricles[3:5]] = 2
    regions.midplane = Plane((0.1 + 0.2, 1 / 3, -1e-7), (0.9999, -0.01, 0.001))
    voxels = np.array([[4, 25, 30], [4, 26, 31]])
    regions.foci = [Focus("left", (30, 25, 4), (1.1, 2.2, 3.3), 1.7, 5.25, 0.8, False, voxels)]
    regions.origin = {VENTRICLES: "automatic", SUBLENTIFORM_LEFT: "semiautomatic"}
    regions.edited = {SUBLENTIFORM_LEFT}
    regions.withheld = {"PVS right": "Too noisy; “quotes”, 50 % | pipe\nand\\backslash"}
    regions.notes = ["Größe geprüft.", "a | b: c"]
    return regions


def assert_same(a, b):
    assert a.grid == b.grid
    assert list(a.masks) == list(b.masks)
    for name in a.masks:
        assert b.masks[name].dtype == bool
        np.testing.assert_array_equal(a.masks[name], b.masks[name])
    assert (a.parts is None) == (b.parts is None)
    if a.parts is not None:
        np.testing.assert_array_equal(a.parts, b.parts)
    assert (a.midplane, a.origin, a.edited, a.withheld, a.notes) == (
        b.midplane, b.origin, b.edited, b.withheld, b.notes)  # fmt: skip
    assert len(a.foci) == len(b.foci)
    for f, g in zip(a.foci, b.foci):
        np.testing.assert_array_equal(f.voxels, g.voxels)
        assert {**vars(f), "voxels": 0} == {**vars(g), "voxels": 0}


def test_round_trip_is_bit_equal(tmp_path):
    volume = head()
    regions = regions_of(volume)
    corner = np.array([[0, 0, 0]])  # one voxel, the first
    regions.foci.append(Focus("right", (0, 0, 0), (0.0, 0.0, 0.0), 1.0, 5.0, 0.5, True, corner))
    write_regions(regions, tmp_path / "r.seg.nrrd")
    assert_same(regions, read_regions(tmp_path / "r.seg.nrrd", volume))
    assert [p.name for p in tmp_path.iterdir()] == ["r.seg.nrrd"]


def test_nothing_offered_and_drawn_but_empty_survive(tmp_path):
    volume = head()
    regions = RegionSet(volume.grid, withheld={VENTRICLES: "Not sure."})
    write_regions(regions, tmp_path / "none.seg.nrrd")
    assert_same(regions, read_regions(tmp_path / "none.seg.nrrd", volume))
    regions.masks[PVS_LEFT] = np.zeros(volume.grid.shape, bool)
    regions.parts = np.zeros(volume.grid.shape, np.uint8)
    write_regions(regions, tmp_path / "empty.seg.nrrd")
    assert_same(regions, read_regions(tmp_path / "empty.seg.nrrd", volume))


@pytest.mark.parametrize("axes", [(True, False, False), (False, True, True), (True, True, True)])
def test_foreign_axis_order_names_and_mapping(tmp_path, axes):
    volume = head()
    mask = regions_of(volume).masks[VENTRICLES]
    image = sitk.PermuteAxes(sitk.Flip(Volume(mask.astype(np.uint8), volume.grid).to_sitk(), axes), [1, 2, 0])
    image.SetMetaData("Segment0_Name", "csf_VENTRICLES")
    image.SetMetaData("Segment0_LabelValue", "1")
    image.SetMetaData("Segment0_Layer", "0")
    sitk.WriteImage(image, str(tmp_path / "f.seg.nrrd"), True)
    np.testing.assert_array_equal(read_regions(tmp_path / "f.seg.nrrd", volume).masks[VENTRICLES], mask)
    mapped = read_regions(tmp_path / "f.seg.nrrd", volume, {"csf_VENTRICLES": PVS_LEFT})
    np.testing.assert_array_equal(mapped.masks[PVS_LEFT], mask)
    assert VENTRICLES not in mapped.masks and mapped.origin == {PVS_LEFT: "imported"}
    with pytest.raises(BadInput, match="no segment or value “x”"):
        read_regions(tmp_path / "f.seg.nrrd", volume, {"x": PVS_LEFT})
    with pytest.raises(BadInput, match="“Amygdala” is not one"):
        read_regions(tmp_path / "f.seg.nrrd", volume, {"csf_VENTRICLES": "Amygdala"})


def test_labelmap_values_default_and_mapped(tmp_path):
    volume = head()
    labels = np.zeros(volume.grid.shape, np.uint8)
    for name, mask in regions_of(volume).masks.items():
        labels[mask] = list(SEGMENTS).index(name) + 1
    sitk.WriteImage(Volume(labels, volume.grid).to_sitk(), str(tmp_path / "l.nii.gz"))
    read = read_regions(tmp_path / "l.nii.gz", volume)
    for value, name in enumerate(SEGMENTS, 1):
        np.testing.assert_array_equal(read.masks.get(name, np.zeros(labels.shape, bool)), labels == value)
    assert any("1 = CSF ventricles, 2 = Sub-lentiform left" in note for note in read.notes)
    swapped = read_regions(tmp_path / "l.nii.gz", volume, {2: SUBLENTIFORM_RIGHT, "3": "sub-lentiform LEFT"})
    assert not swapped.notes
    np.testing.assert_array_equal(swapped.masks[SUBLENTIFORM_LEFT], labels == 3)
    assert set(swapped.masks) == {SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT}
    parts = read_regions(tmp_path / "l.nii.gz", volume, {1: "Third ventricle", 4: "Lateral ventricles"})
    np.testing.assert_array_equal(parts.parts == 2, labels == 1)
    np.testing.assert_array_equal(parts.masks[VENTRICLES], (labels == 1) | (labels == 4))
    assert stored_segments(tmp_path / "l.nii.gz", volume)[0] == ("1", int((labels == 1).sum()), VENTRICLES, False)
    without = read_regions(tmp_path / "l.nii.gz", volume, {"1": VENTRICLES, "2": None})
    assert set(without.masks) == {VENTRICLES}
    labels[labels == 2] = 43  # FreeSurfer's: its 4 is a lateral ventricle, and was taken for "PVS left"
    sitk.WriteImage(Volume(labels, volume.grid).to_sitk(), str(tmp_path / "other.nii.gz"))
    with pytest.raises(BadInput, match="say which is which"):
        read_regions(tmp_path / "other.nii.gz", volume)
    assert {label.region for label in stored_segments(tmp_path / "other.nii.gz", volume)} == {None}


def test_cropped_shifted_and_resampled_grids(tmp_path):
    volume = head()
    mask = regions_of(volume).masks[VENTRICLES]
    whole = Volume(mask.astype(np.uint8), volume.grid).to_sitk()
    sitk.WriteImage(whole[12:30, 8:24, 2:10], str(tmp_path / "crop.nii.gz"))
    read = read_regions(tmp_path / "crop.nii.gz", volume)
    np.testing.assert_array_equal(read.masks[VENTRICLES], mask)
    padded = sitk.ConstantPad(whole, [3, 4, 5], [2, 0, 1])
    sitk.WriteImage(padded, str(tmp_path / "pad.nii.gz"))
    padded = read_regions(tmp_path / "pad.nii.gz", volume)
    np.testing.assert_array_equal(padded.masks[VENTRICLES], mask)
    assert not [note for note in read.notes + padded.notes if "another grid" in note]  # nothing was moved
    fine = volume.grid.resized((80, 72, 12), (0.3, 0.35, 4.4))
    doubled = np.repeat(np.repeat(mask, 2, 1), 2, 2).astype(np.uint8)
    sitk.WriteImage(Volume(doubled, fine).to_sitk(), str(tmp_path / "fine.nii.gz"))
    read = read_regions(tmp_path / "fine.nii.gz", volume)
    # a coarse centre lies between fine voxels of the same coarse one or on its edge: at most one pixel of difference
    assert abs(int(read.masks[VENTRICLES].sum()) - int(mask.sum())) < 0.1 * mask.sum()
    assert any("spacing 0.3 x 0.35 x 4.4 instead of 0.6 x 0.7 x 4.4 mm" in note for note in read.notes)
    turned = Grid(volume.grid.size, volume.grid.spacing, volume.grid.origin, oblique_grid(angle=0.17).direction)
    sitk.WriteImage(Volume(mask.astype(np.uint8), turned).to_sitk(), str(tmp_path / "turned.nii.gz"))
    degrees = float(np.degrees(np.arccos((np.trace(turned.matrix.T @ volume.grid.matrix) - 1) / 2)))
    notes = read_regions(tmp_path / "turned.nii.gz", volume).notes
    assert 1.4 < degrees < 1.8 and any(f"axes turned by {degrees:.1f} degrees" in note for note in notes)


def test_other_head_is_refused_with_what_differs(tmp_path):
    volume = head()
    image = Volume(regions_of(volume).masks[VENTRICLES].astype(np.uint8), volume.grid).to_sitk()
    image.SetOrigin(np.add(volume.grid.origin, (300, 0, 0)))
    sitk.WriteImage(image, str(tmp_path / "o.nii.gz"))
    with pytest.raises(BadInput, match=r"do not belong to this image.*origin 300\.0 mm away"):
        read_regions(tmp_path / "o.nii.gz", volume)


@pytest.mark.parametrize(("voxels", "kept"), [(0.4, True), (0.6, False)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_regions_voxels_may_reach_half_a_voxel_out_of_the_image(axis, last, voxels, kept):
    """Drawn on a finer or shifted grid, the outermost voxels' centres lie in the rim of the image's own."""
    grid = oblique_grid()
    step = np.eye(3)[axis] * (voxels if last else -voxels)
    shifted = Grid(grid.size, grid.spacing, tuple(grid.to_lps(step)), grid.direction)
    mask = np.zeros(grid.shape, bool)
    np.moveaxis(mask, 2 - axis, 0)[-1 if last else 0] = True
    if kept:
        fitted, note = fit_to_grid(mask, shifted, grid)
        assert np.array_equal(fitted, mask) and "another grid" in note
    else:
        with pytest.raises(BadInput, match="100% of a region lies outside"):
            fit_to_grid(mask, shifted, grid)


def test_a_crop_on_the_images_lattice_keeps_every_voxel_to_the_last_row():
    """Cut out and laid over any border: what lies in the image stays where it was, a twentieth may lie outside."""
    grid = oblique_grid()
    mask = np.random.default_rng(0).random(grid.shape) < 0.5
    mask[[0, 0, -1, -1], [0, -1, 0, -1], [0, -1, -1, 0]] = True
    for axis in range(3):
        for start in (0, 2):  # from the first slice on, or up to the last
            size, first = list(grid.size), [0, 0, 0]
            size[axis], first[axis] = size[axis] - 2, start
            cut = np.moveaxis(np.moveaxis(mask, 2 - axis, 0)[start : start + size[axis]], 0, 2 - axis)
            crop = Grid(tuple(size), grid.spacing, tuple(grid.to_lps(first)), grid.direction)
            fitted, note = fit_to_grid(cut, crop, grid)
            expected = np.zeros(grid.shape, bool)
            np.moveaxis(expected, 2 - axis, 0)[start : start + size[axis]] = np.moveaxis(cut, 2 - axis, 0)
            assert np.array_equal(fitted, expected) and note == "", (axis, start)
    wide = Grid((grid.size[0] + 4, *grid.size[1:]), grid.spacing, tuple(grid.to_lps((-2, 0, 0))), grid.direction)
    drawn = np.zeros(wide.shape, bool)
    drawn[0, :5, 2:12] = drawn[0, 5, 2:5] = True  # 53 voxels inside
    drawn[0, 6, :2] = True  # and 2 outside: 3.6 %
    assert fit_to_grid(drawn, wide, grid)[0].sum() == 53
    drawn[0, 7, 0] = True  # 5.4 %
    with pytest.raises(BadInput, match="5% of a region lies outside"):
        fit_to_grid(drawn, wide, grid)


def test_a_region_smaller_than_the_images_voxels_is_not_lost_without_a_word():
    grid = oblique_grid()
    fine = grid.resized(tuple(4 * n for n in grid.size), tuple(s / 4 for s in grid.spacing))
    mask = np.zeros(fine.shape, bool)
    mask[20, 20, 20] = True
    with pytest.raises(BadInput, match="vanish on the image's grid: size"):
        fit_to_grid(mask, fine, grid)


def test_a_fault_of_the_region_file_is_not_told_of_the_image(tmp_path):
    volume = head()
    mask = Volume(regions_of(volume).masks[VENTRICLES].astype(np.uint8), volume.grid).to_sitk()
    sitk.WriteImage(sitk.JoinSeries([mask, mask]), str(tmp_path / "twice.nii.gz"))
    with pytest.raises(BadInput, match=r"^In the region file: .* 4-D series"):
        read_regions(tmp_path / "twice.nii.gz", volume)


@pytest.mark.parametrize("kind", ["absent", "zero", "blank", "image", "text", "cut", "unnamed", "blank-named"])
def test_bad_files_are_refused_in_a_sentence(tmp_path, kind):
    volume, path = head(), tmp_path / "x.seg.nrrd"
    mask = regions_of(volume).masks[VENTRICLES].astype(np.uint8)
    if kind == "zero":
        path.write_bytes(b"")
    elif kind == "blank":
        sitk.WriteImage(Volume(mask * 0, volume.grid).to_sitk(), str(path))
    elif kind == "image":
        sitk.WriteImage(volume.to_sitk(), str(path))
    elif kind == "text":
        path.write_text("hello")
    elif kind == "cut":
        write_regions(regions_of(volume), path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind in ("unnamed", "blank-named"):
        image = Volume(mask * (kind == "unnamed"), volume.grid).to_sitk()
        image.SetMetaData("Segment0_Name", "Liver" if kind == "unnamed" else VENTRICLES)
        sitk.WriteImage(image, str(path))
    with pytest.raises(BadInput) as caught:
        read_regions(path, volume)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_file_is_read_only_if_its_layers_fit_into_memory(tmp_path, monkeypatch):
    """5 x 4 x 3 voxels in two layers of two bytes: the limits are on voxels, and on bytes over all layers."""
    layers = [sitk.GetImageFromArray(np.full((3, 4, 5), n, np.uint16)) for n in (0, 1)]
    image = sitk.Compose(layers)
    for key, value in (("Name", VENTRICLES), ("Layer", "1"), ("LabelValue", "1")):
        image.SetMetaData(f"Segment0_{key}", value)
    sitk.WriteImage(image, str(tmp_path / "two.seg.nrrd"))
    grid = Grid((5, 4, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    volume = Volume(np.zeros((3, 4, 5), np.float32), grid)
    for limit, enough in (("MAX_VOXELS", 60), ("_MAX_BYTES", 240)):
        with monkeypatch.context() as patched:
            patched.setattr(region_files, limit, enough)
            assert read_regions(tmp_path / "two.seg.nrrd", volume).masks[VENTRICLES].all()
            patched.setattr(region_files, limit, enough - 1)
            with pytest.raises(BadInput, match="more voxels than a head scan"):
                read_regions(tmp_path / "two.seg.nrrd", volume)


def test_damaged_details_and_bad_target(tmp_path):
    volume = head()
    write_regions(regions_of(volume), tmp_path / "r.seg.nrrd")
    head_bytes, data = (tmp_path / "r.seg.nrrd").read_bytes().split(b"\n\n", 1)
    assert gzip.decompress(data)
    for old, new in ((b'"version": 1', b'"version" 1'), (b'"normal"', b'"abnormal"')):
        (tmp_path / "d.seg.nrrd").write_bytes(head_bytes.replace(old, new) + b"\n\n" + data)
        with pytest.raises(BadInput, match="header field is damaged"):
            read_regions(tmp_path / "d.seg.nrrd", volume)
    with pytest.raises(BadInput, match=r"ends in \.seg\.nrrd"):
        write_regions(regions_of(volume), tmp_path / "r.nii.gz")
    with pytest.raises(ValueError, match="no protocol segment"):
        write_regions(RegionSet(volume.grid, {"Liver": np.zeros(volume.grid.shape, bool)}), tmp_path / "r.seg.nrrd")


def test_assign_parts_by_nearest_in_millimetres():
    parts = np.zeros((3, 5, 9), np.uint8)
    parts[1, 2, 0], parts[2, 2, 4] = 1, 2
    mask = np.zeros(parts.shape, bool)
    mask[1, 2, :6] = True
    labels = assign_parts(mask, parts, (1.0, 1.0, 10.0))
    assert labels[1, 2].tolist() == [1, 1, 1, 1, 1, 1, 0, 0, 0]  # the other part lies nearer in voxels, not in mm
    assert assign_parts(mask, parts, (1.0, 1.0, 1.0))[1, 2].tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert not assign_parts(mask, parts * 0, (1, 1, 1)).any()
    assert labels[2, 2, 4] == 0
