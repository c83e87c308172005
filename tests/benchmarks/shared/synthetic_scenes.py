"""Scenes of our own making, for what real ones are thin in: weather, water, occlusion, particles.

A window is (T, side, side), float32 in [0, 1]; lengths in pixels, speeds in pixels per frame,
angles in radians. All is drawn from one generator, so a seed gives the same scenes everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

CANVAS = 192
"""Side of the picture that a window looks at."""

Motion = tuple[np.ndarray, float, float, float]
"""Velocity (x, y), and what is turned, zoomed and sheared in a frame."""


class SyntheticScenes:
    """Draws windows of five kinds, some of which fade, flicker, carry noise or are inverted."""

    def __init__(self, random: Generator, side: int, frames: int) -> None:
        self.random, self.side, self.frames = random, side, frames
        self.kinds = (weather, objects, digits, particles, waves)
        self.shares = (0.35, 0.3, 0.1, 0.1, 0.15)

    def window(self) -> np.ndarray:
        r, T = self.random, self.frames
        kind = self.kinds[r.choice(len(self.kinds), p=self.shares)]
        scene_THW = kind(r, self.side, T)
        time_T11 = np.arange(T)[:, None, None]
        if r.random() < 0.15:
            scene_THW = scene_THW * np.clip(1 + r.uniform(-0.06, 0.06) * time_T11, 0, None)
        if r.random() < 0.1:
            scene_THW = scene_THW * (1 + r.normal(0, 0.06, (T, 1, 1)))
        if r.random() < 0.3:
            scene_THW = scene_THW + r.normal(0, r.uniform(0.003, 0.03), scene_THW.shape)
        scene_THW = np.clip(scene_THW, 0, 1).astype(np.float32)
        return 1 - scene_THW if r.random() < 0.15 else scene_THW


def weather(r: Generator, side: int, frames: int) -> np.ndarray:
    """Random fields carried, turned and sheared, growing and fading; mostly rain with dry gaps."""
    total_THW = np.zeros((frames, side, side), np.float32)
    for _ in range(1 + (r.random() < 0.3)):
        first, second = random_fields(r, CANVAS, r.uniform(1.4, 2.6), 2)
        regions = random_fields(r, CANVAS, 3.0, 1)[0] * 1.2 * (r.random() < 0.5)
        motion = random_motion(r, 2.5 if r.random() < 0.7 else 5)
        change, growth = abs(r.normal()) * 0.09 * (r.random() < 0.8), abs(r.normal()) * 0.06
        phase = r.uniform(0, 2 * np.pi)
        for t in range(frames):
            # A field that turns into another of the same spectrum, under regions that grow or fade
            field = first * np.cos(change * t) + second * np.sin(change * t)
            field = field + regions * np.sin(phase + growth * t)
            total_THW[t] += look(field.astype(np.float32), camera(t, CANVAS, side, motion), side)
    if r.random() < 0.3:
        return 0.5 + total_THW * r.uniform(0.05, 0.25)
    rain_THW = np.clip(total_THW - r.uniform(-0.3, 1.0), 0, None) * r.uniform(0.12, 0.4)
    if r.random() < 0.5:
        rain_THW = rain_THW ** r.uniform(0.6, 1.2)
    if r.random() < 0.4:  # faint echoes are below what a radar reports
        rain_THW = np.where(rain_THW > r.uniform(0.02, 0.15), rain_THW, 0)
    return rain_THW


def objects(r: Generator, side: int, frames: int) -> np.ndarray:
    """Sprites that occlude each other before a background that a camera pans or zooms over."""
    background = texture(r, CANVAS)
    pan = (np.zeros(2), 0.0, 0.0, 0.0) if r.random() < 0.5 else random_motion(r, 3)
    shake_T2 = r.normal(0, r.uniform(0.2, 1), (frames, 2)).cumsum(axis=0) * (r.random() < 0.25)
    scene = []
    for t in range(frames):
        view = camera(t, CANVAS, side, pan)
        view[:, 2] += shake_T2[t]
        scene.append(look(background, view, side))
    for _ in range(r.integers(1, 6)):
        size = int(r.integers(12, 64))
        plain = np.full((size, size), r.random(), np.float32)
        picture = texture(r, size) if r.random() < 0.6 else plain
        mask = outline(r, size)
        velocity, spin, zoom, _ = random_motion(r, 5)
        start = r.uniform(0, side, 2) - velocity * frames / 3
        acceleration = r.normal(0, 0.12, 2) * (r.random() < 0.3)
        stop, hop = r.integers(0, 3 * frames), r.uniform(0, 4) * (r.random() < 0.25)
        beat, phase = r.uniform(0.2, 1.2), r.uniform(0, 2 * np.pi)
        for t in range(frames):
            at = min(t, stop)
            place = start + velocity * at + acceleration * at * at / 2 - shake_T2[t]
            place[1] += hop * np.sin(beat * t + phase)
            turned = rotation(-2 * spin * at) * np.exp(zoom * at)
            shift = place - turned @ np.array([size / 2, size / 2])
            matrix = np.concatenate([turned, shift[:, None]], axis=1).astype(np.float32)
            alpha = cv2.warpAffine(mask, matrix, (side, side))
            drawn = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
            scene[t] = scene[t] * (1 - alpha) + drawn * alpha
    return np.stack(scene)


def digits(r: Generator, side: int, frames: int) -> np.ndarray:
    """Digits in the line fonts that OpenCV draws, bouncing off the borders."""
    fonts = (0, 2, 3, 4, 6, 7)  # OpenCV's, without the script ones
    patches = []
    for _ in range(r.integers(1, 4)):
        size = int(r.integers(20, 36))
        patch = np.zeros((size, size), np.uint8)
        corner, scale = (int(size * 0.2), int(size * 0.82)), size / 36 * r.uniform(0.9, 1.15)
        font, width = int(r.choice(fonts)), int(r.integers(1, 4))
        cv2.putText(patch, str(r.integers(10)), corner, font, scale, 255, width, cv2.LINE_AA)
        tilt = cv2.getRotationMatrix2D((size / 2, size / 2), r.uniform(-20, 20), 1)
        patches.append(cv2.warpAffine(patch.astype(np.float32) / 255, tilt, (size, size)))
    return bouncing(r, patches, side, frames)


def bouncing(r: Generator, patches: Sequence[np.ndarray], side: int, frames: int) -> np.ndarray:
    """Patches that move straight on and bounce off the borders; the brightest is seen."""
    scene_THW = np.zeros((frames, side, side), np.float32)
    for patch in patches:
        room, velocity = side - len(patch), r.normal(size=2)
        velocity *= r.uniform(0.5, 5) / (np.hypot(*velocity) + 1e-6)
        start = r.uniform(0, room, 2)
        for t in range(frames):
            place = (start + velocity * t) % (2 * room)
            x, y = np.where(place > room, 2 * room - place, place)
            matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
            np.maximum(scene_THW[t], cv2.warpAffine(patch, matrix, (side, side)), out=scene_THW[t])
    return scene_THW


def particles(r: Generator, side: int, frames: int) -> np.ndarray:
    """Spots that drift together and each on its own."""
    count, at_S = int(r.integers(5, 60)), np.arange(side)
    place_N2 = r.uniform(-20, side + 20, (count, 2))
    velocity_N2 = random_motion(r, 3)[0] + r.normal(size=(count, 2)) * r.uniform(0, 2)
    width_N1 = r.uniform(0.8, 4, (count, 1))
    signs = (-1, 1) if r.random() < 0.2 else (1,)
    brightness_N1 = r.uniform(0.2, 1, (count, 1)) * r.choice(signs, (count, 1))
    jitter, scene = r.uniform(0, 0.6) * (r.random() < 0.4), []
    for _ in range(frames):
        place_N2 = place_N2 + velocity_N2 + r.normal(size=(count, 2)) * jitter
        along_NS, down_NS = (
            np.exp(-((at_S - place_N2[:, axis : axis + 1]) ** 2) / (2 * width_N1**2))
            for axis in (0, 1)
        )
        scene.append((down_NS * brightness_N1).T @ along_NS)
    return np.stack(scene) + r.uniform(0, 0.4)


def waves(r: Generator, side: int, frames: int) -> np.ndarray:
    """Plane waves and rings, seen themselves or bending what lies under water."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    time_T11 = np.arange(frames, dtype=np.float32)[:, None, None]
    height_THW = np.zeros((frames, side, side), np.float32)
    for _ in range(r.integers(1, 6)):
        length, pace = r.uniform(6, 60), r.uniform(0.05, 1.2) * r.choice((-1, 1))
        phase, height, angle = r.uniform(0, 2 * np.pi), r.uniform(0.3, 1), r.uniform(0, 2 * np.pi)
        if r.random() < 0.7:
            way = x * np.cos(angle) + y * np.sin(angle)
        else:
            way = np.hypot(x - r.uniform(0, side), y - r.uniform(0, side))
        height_THW += height * np.sin(2 * np.pi * way / length - pace * time_T11 + phase)
    if r.random() < 0.5:
        return 0.5 + height_THW * r.uniform(0.04, 0.2)
    ground, depth = texture(r, side), r.uniform(0.3, 2.5)
    return np.stack(
        [
            cv2.remap(
                ground,
                (x + depth * height_HW).astype(np.float32),
                (y + 0.7 * depth * height_HW).astype(np.float32),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            for height_HW in height_THW
        ]
    )


def random_fields(r: Generator, side: int, slope: float, count: int) -> np.ndarray:
    """Gaussian random fields (count, side, side), variance 1, amplitudes falling as f^-slope."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    amplitude = frequency**-slope * (frequency > r.uniform(0, 0.02))
    amplitude[0, 0] = 0
    shape = (count, side, side // 2 + 1)
    spectrum = (r.standard_normal(shape) + 1j * r.standard_normal(shape)) * amplitude
    fields = np.fft.irfft2(spectrum, s=(side, side)).astype(np.float32)
    return fields / (fields.std(axis=(1, 2), keepdims=True) + 1e-6)


def texture(r: Generator, side: int) -> np.ndarray:
    """A random field, rectangles, or an even slope of brightness: (side, side)."""
    choice = r.random()
    if choice < 0.5:
        field = random_fields(r, side, r.uniform(1, 2.2), 1)[0]
        return 0.5 + 0.2 * field * np.float32(r.uniform(0.4, 1.2))
    picture = np.full((side, side), r.random(), np.float32)
    if choice < 0.75:
        for _ in range(r.integers(3, 25)):
            x, y, width, height = (int(number) for number in r.integers(0, side, 4))
            corner, thickness = (x + width // 3, y + height // 3), int(r.integers(1, 4))
            filled = -1 if r.random() < 0.7 else thickness
            cv2.rectangle(picture, (x, y), corner, float(r.random()), filled)
        return cv2.GaussianBlur(picture, (0, 0), r.uniform(0.5, 3)) if r.random() < 0.3 else picture
    return picture + r.uniform(-0.5, 0.5) * np.linspace(-0.5, 0.5, side, dtype=np.float32)


def outline(r: Generator, side: int) -> np.ndarray:
    """1 inside a random ellipse or polygon, else 0: (side, side)."""
    mask, middle = np.zeros((side, side), np.float32), side // 2
    if r.random() < 0.4:
        axes = (int(r.integers(side // 8, middle)), int(r.integers(side // 8, middle)))
        tilt = r.uniform(0, 180)
        return cv2.ellipse(mask, (middle, middle), axes, tilt, 0, 360, 1, -1, cv2.LINE_AA)
    corners = int(r.integers(3, 9))
    angles = np.sort(r.uniform(0, 2 * np.pi, corners))
    radii = r.uniform(0.3, 1, corners) * middle * 0.95
    points = middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return cv2.fillPoly(mask, [points.astype(np.int32)], 1, cv2.LINE_AA)


def random_motion(r: Generator, fastest: float) -> Motion:
    """A velocity of seldom more than `fastest`, and now and then a turn, a zoom, a shear."""
    speed, angle = abs(r.normal()) * 0.6 * fastest, r.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(angle), np.sin(angle)]) * speed
    turn, zoom = (r.normal() * rate * (r.random() < 0.4) for rate in (0.02, 0.012))
    return velocity, turn, zoom, r.normal() * 0.01 * (r.random() < 0.3)


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def camera(t: int, canvas: int, side: int, motion: Motion) -> np.ndarray:
    """The matrix (2, 3) from pixels of a window to those of the canvas at time `t`."""
    velocity, turn, zoom, shear = motion
    turned = rotation(turn * t) @ np.array([[1, shear * t], [0, 1]]) * np.exp(zoom * t)
    shift = canvas / 2 - turned @ np.array([side / 2, side / 2]) - velocity * t
    return np.concatenate([turned, shift[:, None]], axis=1).astype(np.float32)


def look(canvas: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """What a camera sees of a canvas, mirrored where it ends."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        canvas, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
