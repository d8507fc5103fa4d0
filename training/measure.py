"""What an engine scores, as its description of itself says: by the vehicle's road, on CamVid."""

from __future__ import annotations

from pathlib import Path

from adverse_perception.inference import Engine
from training.checkpoints import GUIDE, open_guide
from training.datasets import Pack, open_pack
from training.evaluate import evaluate
from training.video_scores import LightStep, key_engine, pda, video_of_pack

_WEATHERS = {"clear": None, "rain": "rain", "fog": "fog", "night": "night"}
_FRAMES_ON, _EVERY = 5, 9


def scoring_pack(role: str, data: Path) -> Pack:
    """The frames of a labelled folder that engines of a role are scored on.

    Args:
        role: of the engine; what corrects needs consecutive frames, as CamVid's `val` has.
        data: the folder.

    Raises:
        DatasetError: it is not there, or has no such split.
    """
    split = "val" if role == "correction" else "test"
    return open_pack(data, split)


def measure(engine: Engine, pack: Pack) -> dict[str, float]:
    """Scores, 0 to 1.

    Returns:
        MIoU of a segmenter by the weather put on the frames; accuracy of a weather engine; mIoU of
        corrected labels some frames after key frames.
    """
    role = engine.metadata.role
    if role == "correction":
        return {f"clear_{_FRAMES_ON}_frames_on": round(_carried(engine, pack), 4)}
    if role == "weather":
        return {"accuracy": round(float(evaluate(engine, pack)["accuracy"]), 4)}
    return {
        name: round(float(evaluate(engine, pack, weather)["miou"]), 4)
        for name, weather in _WEATHERS.items()
    }


def _carried(correction: Engine, pack: Pack) -> float:
    """The key network is the shipped clear one, on pictures of twice the correction's size."""
    told = correction.metadata
    key = key_engine(open_guide(GUIDE), (2 * told.input_height, 2 * told.input_width))
    video = video_of_pack(pack, key)
    return float(pda(video, LightStep(correction), _FRAMES_ON, _EVERY)[_FRAMES_ON].miou())
