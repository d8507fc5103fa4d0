"""What is said in words beside the pictures: classes and conditions as JSON."""

from __future__ import annotations

import json
from typing import Any

from adverse_perception.frames import Condition
from adverse_perception.labels import CLASSES, UNLABELLED


def label_info_json() -> str:
    """Classes of the label pictures as JSON: id, name and RGB colour of each."""
    classes = [
        {"id": number, "name": label.name, "color": list(label.colour)}
        for number, label in enumerate(CLASSES)
    ]
    return json.dumps({"encoding": "mono8", "unlabelled": UNLABELLED, "classes": classes})


def condition_json(condition: Condition, header: Any, engine: str) -> str:
    """What the road looks like as JSON: weather, every score, and which frame says so.

    Args:
        condition: the weather and its scores.
        header: std_msgs/Header of the picture.
        engine: name of the engine that labelled it.
    """
    return json.dumps(
        {
            "stamp": {"sec": header.stamp.sec, "nanosec": header.stamp.nanosec},
            "frame_id": header.frame_id,
            "weather": condition.weather.value,
            "forced": condition.forced,
            "scores": {w.value: round(float(score), 4) for w, score in condition.scores.items()},
            "engine": engine,
        }
    )
