"""Where the anterior commissure lies in real heads of ../shared/data, marked by eye.

Middle of the commissure in the mid-sagittal plane, found on magnified native slices and on sagittal, coronal and axial
reformats, by one reader who is no radiologist, knew what the points are for and marked them before looking at what the
software finds. In sri24 it was marked in the T1 picture of the same grid, where it is plain. Along the axis of thick
slices a mark is good to about a millimetre.
"""

from __future__ import annotations

#: LPS mm by head.
COMMISSURES = {
    "sri24": (119.0, -128.7, 68.2),
    "oms_patient01_study1": (-1.4, -7.6, -11.4),
    "oms_patient01_study2": (0.4, -6.2, -17.5),
    "oms_patient03_study1": (-2.1, -31.2, 31.8),
    "oms_patient03_study2": (-10.0, -7.4, -26.9),
    "cstar_stroke": (-3.6, -4.9, 1.3),
}
