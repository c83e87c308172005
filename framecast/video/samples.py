"""Sample clips: rain (PNG folder), shapes.mp4 and pendulum.gif, which `framecast demo` writes.

Seeded and computed in closed form, so the pixels are the same on every machine; the MP4's bytes
depend on the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from framecast.video.writers.open import write_frames

RAIN_STEP = np.array([0.9, 2.0])  # rows, columns per frame at the centre
RAIN_GRADIENT = np.array([[0.0, 0.006], [-0.012, 0.0]])  # rotation and shear, per frame
RAIN_FPS, SHAPES_FPS, PENDULUM_FPS = 10, 15, 20


def rain_frames(frames: int = 108, size: int = 96) -> Iterator[np.ndarray]:
    """Radar-like showers carried by a steady flow, growing and fading; grey uint8.

    The intensity is a sum of waves, looked up where the flow brought each pixel from: motion is
    exact at sub-pixel precision and new showers come in over the edges.
    """
    rng = np.random.default_rng(20260)
    modes = 360
    wavelength = np.exp(rng.uniform(np.log(5), np.log(80), modes))  # pixels
    angle = rng.uniform(0, 2 * np.pi, modes)
    phase = rng.uniform(0, 2 * np.pi, modes)
    # Radians per frame: small cells fade within a few frames, wide bands within tens.
    drift = rng.normal(0, 2.0, modes) / wavelength
    amplitude = wavelength**0.7
    amplitude /= np.sqrt((amplitude**2).sum() / 2)
    wave = 2 * np.pi / wavelength * np.stack([np.sin(angle), np.cos(angle)])
    # The flow is affine, so that three points tell where all pixels come from, and each wave is a
    # wave of the row times one of the column: their sum over all waves is a matrix product.
    corners_32 = np.array([[0, 0], [1, 0], [0, 1]]) - (size - 1) / 2
    number_S1 = np.arange(size)[:, None]
    for t in range(frames):
        first, below, right = corners_32 @ wave + (phase + drift * t)
        rows_SM = np.exp(1j * (first + number_S1 * (below - first)))
        columns_SM = np.exp(1j * number_S1 * (right - first))
        field = ((rows_SM * amplitude) @ columns_SM.T).real
        intensity = 255 * (1 - np.exp(-np.maximum(field - 0.3, 0) / 1.25))
        yield np.rint(intensity).astype(np.uint8)[..., None]
        corners_32 = _carried_back(corners_32)


def shapes_frames(frames: int = 90, height: int = 88, width: int = 120) -> Iterator[np.ndarray]:
    """Coloured discs and boxes bouncing off the walls, the small before the large; RGB uint8."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width].astype(float)
    ground = _texture(rng, y, x)
    colors = [(233, 92, 74), (246, 190, 65), (78, 186, 148), (84, 148, 233), (196, 122, 214)]
    radii = [8, 10, 12, 9, 14]
    starts = rng.uniform(0, [height, width], (5, 2))
    speeds = rng.uniform(0.8, 2.4, (5, 2)) * rng.choice([-1, 1], (5, 2))
    for t in range(frames):
        picture = ground
        for index in np.argsort(radii)[::-1]:  # the small ones in front
            radius = radii[index]
            row, column = _bounced(starts[index] + speeds[index] * t, radius, (height, width))
            is_box = index % 2 == 1
            distance = _box_distance if is_box else np.hypot
            edge = radius - distance(y - row, x - column)
            cover = np.clip(edge + 0.5, 0, 1)[..., None]
            shade = 0.82 + 0.18 * np.clip(edge / radius, 0, 1)[..., None]
            picture = picture * (1 - cover) + np.array(colors[index]) * shade * cover
        yield np.rint(picture).astype(np.uint8)


def pendulum_frames(frames: int = 60, height: int = 75, width: int = 101) -> Iterator[np.ndarray]:
    """Two pendulums of periods 20 and 30 frames, so that the clip is a loop; grey uint8."""
    y, x = np.mgrid[:height, :width].astype(float)
    ground = 34 + 26 * y / height
    for t in range(frames):
        picture = ground
        for pivot, length, radius, period, swing, light in (
            (32.0, 36.0, 7.0, 20, 0.62, 226),
            (70.0, 52.0, 9.0, 30, 0.42, 168),
        ):
            angle = swing * np.sin(2 * np.pi * t / period)
            row, column = 4 + length * np.cos(angle), pivot + length * np.sin(angle)
            along = (y - 4) * np.cos(angle) + (x - pivot) * np.sin(angle)
            across = np.abs((x - pivot) * np.cos(angle) - (y - 4) * np.sin(angle))
            rod = np.clip(1.3 - across, 0, 1) * np.clip(along + 0.75, 0, 1) * (along < length)
            picture = picture * (1 - rod) + 120 * rod
            bob = np.clip(radius + 0.5 - np.hypot(y - row, x - column), 0, 1)
            glow = np.hypot(y - row + radius / 3, x - column + radius / 3) / (2 * radius)
            picture = picture * (1 - bob) + light * (1.1 - 0.5 * glow) * bob
        yield np.rint(np.clip(picture, 0, 255)).astype(np.uint8)[..., None]


def write_samples(folder: Path, on_frame: Callable[[str], None] = lambda name: None) -> list[Path]:
    """Write the three clips into `folder` and return their paths; OutputError when one exists.

    Painting them takes seconds: `on_frame` is called with the clip's name for each frame.
    """

    def reported(name: str, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for frame_HWC in frames:
            on_frame(name)
            yield frame_HWC

    clips = (
        ("rain", rain_frames, RAIN_FPS),
        ("shapes.mp4", shapes_frames, SHAPES_FPS),
        ("pendulum.gif", pendulum_frames, PENDULUM_FPS),
    )
    return [
        write_frames(folder / name, reported(name, frames()), fps=fps)
        for name, frames, fps in clips
    ]


def _carried_back(position_P2: np.ndarray) -> np.ndarray:
    """Where the flow had each point one frame earlier (one Runge-Kutta step of fourth order)."""

    def velocity(position: np.ndarray) -> np.ndarray:
        return RAIN_STEP + position @ RAIN_GRADIENT.T

    a = velocity(position_P2)
    b = velocity(position_P2 - a / 2)
    c = velocity(position_P2 - b / 2)
    d = velocity(position_P2 - c)
    return position_P2 - (a + 2 * b + 2 * c + d) / 6


def _texture(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Muted blue-grey cloth (H, W, 3), levels about 35 to 105."""
    field = np.zeros_like(y)
    for wavelength in (60, 34, 21, 13, 8, 5):
        for angle, phase in rng.uniform(0, 2 * np.pi, (3, 2)):
            along = y * np.sin(angle) + x * np.cos(angle)
            field += np.cos(2 * np.pi * along / wavelength + phase) * wavelength**0.4
    field = (field - field.min()) / np.ptp(field)
    return np.array([38, 46, 62]) + field[..., None] * np.array([44, 46, 42])


def _bounced(position: np.ndarray, radius: float, size: tuple[int, int]) -> np.ndarray:
    """Free flight folded back between walls that the outline touches (row, column)."""
    room = np.array(size) - 1 - 2 * radius
    return radius + room - np.abs(position % (2 * room) - room)


def _box_distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(rows), np.abs(columns))
