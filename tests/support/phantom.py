"""A chest that never was one: ellipses of the densities a CT shows, for screenshots and for eyes."""

from __future__ import annotations

from array import array

from pacsops.dicom.synthetic import Study

SIZE = 256  # rows and columns
SLICES = 24
# Centre and half axes as parts of the image, Hounsfield units; later ones lie above earlier ones.
_BODY = ((0.50, 0.52, 0.44, 0.34, 40), (0.50, 0.52, 0.41, 0.31, -90), (0.50, 0.52, 0.39, 0.29, 50))
_LUNGS = ((0.31, 0.50, 0.15, 0.22, -820), (0.69, 0.50, 0.15, 0.22, -840))
_HEART = ((0.54, 0.44, 0.12, 0.13, 60), (0.56, 0.45, 0.06, 0.07, 120), (0.50, 0.62, 0.03, 0.03, 150))
_SPINE = ((0.50, 0.72, 0.07, 0.06, 380), (0.50, 0.70, 0.03, 0.02, 40), (0.50, 0.22, 0.05, 0.015, 420))


def chest(seed: str) -> Study:
    """A CT of `SLICES` slices. The patient's name says what it is."""
    study = Study(
        seed=seed, patient_name="SYNTHETIC^CHEST", patient_id="SYN00000001", study_description="CHEST SYNTHETIC"
    )
    series = study.add_series("CT", sizes=[(SIZE, SIZE)] * SLICES, description="PHANTOM 5 mm", attributes=_SEEN_AS)
    for number, dataset in enumerate(series.datasets):
        depth = number / (SLICES - 1)
        dataset.PixelData = _slice(depth).tobytes()
    return study


_SEEN_AS = {"WindowCenter": "40", "WindowWidth": "1200", "PixelSpacing": ["1.4", "1.4"], "BodyPartExamined": "CHEST"}


def _slice(depth: float) -> array[int]:
    """Stored values of one slice, `depth` from 0 at the shoulders to 1 at the diaphragm."""
    pixels = array("H", [24] * (SIZE * SIZE))  # air: -1000
    swell = 0.55 + 0.45 * (1 - abs(2 * depth - 1))  # lungs and heart are widest in the middle
    for ellipses, size in ((_BODY, 1.0), (_LUNGS, swell), (_HEART, swell), (_SPINE, 1.0)):
        for x, y, width, height, units in ellipses:
            _fill(pixels, (x, y), (width * size, height * size), units + 1024)
    return pixels


def _fill(pixels: array[int], centre: tuple[float, float], axes: tuple[float, float], value: int) -> None:
    """Row by row, with a little grain so that a picture is not a plane of one grey."""
    for row in range(SIZE):
        height = (row / SIZE - centre[1]) / axes[1]
        if abs(height) >= 1:
            continue
        half = axes[0] * (1 - height * height) ** 0.5
        for column in range(int((centre[0] - half) * SIZE), int((centre[0] + half) * SIZE)):
            pixels[row * SIZE + column] = max(0, value + (row * 7919 + column * 104729) % 41 - 20)
