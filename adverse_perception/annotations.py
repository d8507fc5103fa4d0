"""What is said in words beside the pictures: classes and conditions as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adverse_perception.frames import Segmentation
from adverse_perception.labels import CLASS_NAMES, CLASSES, UNLABELLED


def label_info_json() -> str:
    """Classes of the label pictures as JSON: id, name and RGB colour of each."""
    classes = [
        {"id": number, "name": label.name, "color": list(label.colour)}
        for number, label in enumerate(CLASSES)
    ]
    return json.dumps({"encoding": "mono8", "unlabelled": UNLABELLED, "classes": classes})


def label_info() -> Any | None:
    """Classes of the label pictures as vision_msgs/LabelInfo; None where that is not installed."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:  # not on the package index
        return None
    named = [*enumerate(CLASS_NAMES), (UNLABELLED, "unlabelled")]
    return LabelInfo(class_map=[VisionClass(class_id=i, class_name=name) for i, name in named])


def condition_json(
    segmentation: Segmentation, durations_ms: Mapping[str, float], header: Any
) -> str:
    """What the road looks like as JSON: weather, every score, how, and which frame says so.

    Args:
        segmentation: what was said about the frame.
        durations_ms: how long each stage took; `latency` is from the stamp to the labels.
        header: std_msgs/Header of the picture.
    """
    condition, distortion = segmentation.condition, segmentation.distortion
    return json.dumps(
        {
            "stamp": {"sec": header.stamp.sec, "nanosec": header.stamp.nanosec},
            "frame_id": header.frame_id,
            "weather": condition.weather.value,
            "forced": condition.forced,
            "alone": condition.alone.value if condition.alone else None,
            "scores": {w.value: round(float(score), 4) for w, score in condition.scores.items()},
            "engine": segmentation.engine,
            "keyframe": segmentation.keyframe,
            "distortion": None if distortion is None else round(distortion, 4),
            "timing_ms": {stage: round(value, 3) for stage, value in durations_ms.items()},
        }
    )
