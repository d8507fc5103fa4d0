"""What the sample drive promises: its weathers in order, exact labels, the same drive again."""

from __future__ import annotations

import numpy as np
import pytest

from adverse_perception.frames import Weather
from training.drive import SCHEDULE, Drive, DriveFrame, frames

SIZE = (160, 120)


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive.draw(seed=0, size=SIZE)


@pytest.fixture(scope="module")
def shots(drive: Drive) -> list[DriveFrame]:
    return [drive.frame(5.0 + 10.0 * number) for number in range(4)]


def test_the_drive_passes_every_weather_in_order(drive: Drive) -> None:
    stamps = [0.0, 9.2, 9.9, 10.1, 19.4, 20.1, 29.9, 30.1, 39.9]
    expected = [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert [drive.frame(s).weather for s in stamps] == [SCHEDULE[n] for n in expected]


def test_weathers_look_their_part(shots: list[DriveFrame]) -> None:
    clear, rain, fog, night = shots
    assert night.image.mean() < 0.85 * clear.image.mean()
    assert fog.image.std() < 0.8 * clear.image.std()
    assert not np.array_equal(rain.image, clear.image)
    assert [shot.weather for shot in shots] == list(Weather)


def test_weather_changes_the_picture_and_not_the_labels(drive: Drive) -> None:
    foggy, plain = drive.frame(25.0), drive.street.render(25.0)
    assert np.array_equal(foggy.labels, plain.labels)
    assert np.array_equal(foggy.depth_m, plain.depth_m)
    assert not np.array_equal(foggy.image, plain.image)


def test_a_change_of_weather_is_smooth(drive: Drive) -> None:
    levels = [drive.frame(29.4 + 0.1 * number).image.mean() for number in range(13)]
    whole = abs(levels[-1] - levels[0])
    assert np.abs(np.diff(levels)).max() < 0.35 * whole + 2


def test_frames_come_at_the_asked_rate_and_size() -> None:
    shots = list(frames(rate_hz=2.0, size=(64, 48), seed=1, seconds=4.0))
    assert [shot.stamp_s for shot in shots] == [0.5 * number for number in range(8)]
    assert all(shot.image.shape == (48, 64, 3) for shot in shots)
    assert [shot.weather for shot in shots][::2] == list(SCHEDULE)


def test_the_same_seed_is_the_same_drive() -> None:
    first, second = (list(frames(0.5, (64, 48), seed=2, seconds=8.0)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.labels, other.labels)
