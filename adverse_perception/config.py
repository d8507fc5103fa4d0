"""Every knob of the vehicle, declared once: default, meaning and allowed values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from adverse_perception.frames import Weather

AUTO = "auto"
"""Value of `condition` that leaves the route to the weather classifier."""
_WEATHERS = tuple(weather.value for weather in Weather)

_TOPIC_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


class ConfigError(ValueError):
    """A knob that does not exist or a value it does not take."""


def knob(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """Declare one knob of a configuration dataclass.

    Args:
        default: its value when nobody says otherwise; its type is the knob's type.
        description: one line for the user, with the unit.
        low: smallest allowed number, inclusive.
        high: largest allowed number, inclusive.
        choices: the allowed words, of a list those of its entries; empty = any.
        live: it may be changed while the node runs.
    """
    metadata = {
        "description": description,
        "low": low,
        "high": high,
        "choices": choices,
        "live": live,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class PipelineConfig:
    """What a pipeline can be told. An empty configuration is a valid one.

    Raises:
        ConfigError: a value is of the wrong type, out of range or not among the choices.
    """

    engines_folder: str = knob("", "folder of the engine files; empty = the shipped engines")
    backend: str = knob(
        "onnxruntime",
        "what runs the engines; auto = TensorRT where there is a GPU, else OpenVINO if installed",
        choices=("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", AUTO),
    )
    backend_fallback: bool = knob(
        True, "an engine that the backend refuses runs on ONNX Runtime; false = that is an error"
    )
    precision: str = knob(
        AUTO,
        "what engines calculate in; auto = fp16 on TensorRT where that costs little, else fp32",
        choices=(AUTO, "fp32", "fp16", "int8"),
    )
    plans_folder: str = knob("", "folder of TensorRT's plans; empty = in the user's cache folder")
    threads: int = knob(2, "threads of one engine; 1 where others need the cores", low=1, high=64)
    workers: int = knob(
        0,
        "pictures of different cameras labelled at the same time; 0 = one, with TensorRT all",
        low=0,
        high=64,
    )
    batch: int = knob(
        0,
        "most pictures in one run; 0 = as many as pay, measured at start; with TensorRT one",
        low=0,
        high=64,
    )
    condition: str = knob(
        AUTO,
        "weather whose route every frame takes; auto = the classifier decides",
        choices=(AUTO, *_WEATHERS),
        live=True,
    )
    classifier_interval: int = knob(
        3, "the weather is looked at in every n-th frame", low=1, high=1000, live=True
    )
    smoothing_s: float = knob(
        0.6, "time constant of the smoothed weather scores, seconds", low=0.0, high=60.0, live=True
    )
    switch_margin: float = knob(
        0.3,
        "lead in smoothed score another weather needs to take the route",
        low=0.0,
        high=0.7,
        live=True,
    )
    hold_s: float = knob(
        0.5, "shortest time between two changes of route, seconds", low=0.0, high=60.0, live=True
    )
    weather_vote: bool = knob(
        True, "night and fog are decided by the majority of the cameras", live=True
    )
    keyframe_interval: int = knob(
        2, "every n-th frame at least goes through the whole network", low=1, high=1000, live=True
    )
    distortion_limit: float = knob(
        1.0,
        "mean distortion above which a frame is done again as a key frame; 1 = never",
        low=0.0,
        high=1.0,
        live=True,
    )
    corrected: bool = knob(
        True, "what is carried on is corrected; false = by optical flow alone, a third faster",
        live=True,
    )  # fmt: skip
    keyframe_gap_s: float = knob(
        0.5, "a longer pause in the stamps makes a key frame, seconds", low=0.0, high=60.0,
        live=True,
    )  # fmt: skip
    propagated: tuple[str, ...] = knob(
        (Weather.CLEAR.value,),
        "weathers whose routes carry key frames on; uncorrected if the correction knows others",
        choices=_WEATHERS,
        live=True,
    )

    def __post_init__(self) -> None:
        for declared in knobs(type(self)):
            value = checked(declared, getattr(self, declared.name))
            object.__setattr__(self, declared.name, value)


@dataclass(frozen=True)
class NodeConfig(PipelineConfig):
    """What the node can be told: everything a pipeline can, its cameras and its topics.

    Raises:
        ConfigError: a value is of the wrong type, out of range, or no usable name.
    """

    autostart: bool = knob(True, "configure and activate at start, without a lifecycle manager")
    cameras: tuple[str, ...] = knob(
        ("camera",), "names of the cameras; topics are <camera>/image_raw and so on"
    )
    image_topic: str = knob("image_raw", "topic of the pictures, below the camera's name")
    image_transport: str = knob(
        "raw",
        "raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage on <topic>/compressed",
        choices=("raw", "compressed"),
    )
    overlay_opacity: float = knob(
        0.5, "share of the label's colour in the overlay", low=0.0, high=1.0, live=True
    )
    silent_after_s: float = knob(
        2.0, "a camera without a picture for this long is reported, s", low=0.1, high=3600.0,
        live=True,
    )  # fmt: skip
    late_frame_s: float = knob(
        0.5,
        "a frame older than its predecessor by up to this is dropped, by more is a new drive, s",
        low=0.0,
        high=60.0,
        live=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise ConfigError(
                f"cameras: expected names that differ, found {', '.join(self.cameras) or 'none'}"
            )
        for name in (*(camera.removeprefix("/") for camera in self.cameras), self.image_topic):
            if not _TOPIC_NAME.fullmatch(name):
                raise ConfigError(
                    f"cameras, image_topic: expected letters, digits, _ and / as in front/left,"
                    f" found {name!r}"
                )


def knobs(config: type[PipelineConfig]) -> Iterator[Field[Any]]:
    """The declared knobs of a configuration class, in order."""
    return (declared for declared in fields(config) if "description" in declared.metadata)


def configured(
    config: type[PipelineConfig], values: Mapping[str, Any] = MappingProxyType({})
) -> PipelineConfig:
    """Make a configuration from values by name; the rest keeps its default.

    Raises:
        ConfigError: a name is no knob, or its value does not fit.
    """
    known = [declared.name for declared in knobs(config)]
    for name in values:
        if name not in known:
            raise ConfigError(f"{name}: no such setting; expected one of {', '.join(known)}")
    return config(**values)


def checked(declared: Field[Any], value: Any) -> Any:
    """The value in the knob's type, when the knob takes it.

    Raises:
        ConfigError: names the knob, what it takes and what was found.
    """
    kind = type(declared.default)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not kind or not _allowed(declared.metadata, value):
        raise ConfigError(
            f"{declared.name}: expected {wanted(declared)}, found {value!r}"
            f" ({declared.metadata['description']})"
        )
    return value


def _allowed(limits: Mapping[str, Any], value: Any) -> bool:
    if limits["choices"]:
        words = value if isinstance(value, tuple) else (value,)
        return all(word in limits["choices"] for word in words)
    # written so that nan, which compares false with everything, is refused
    above = limits["low"] is None or value >= limits["low"]
    below = limits["high"] is None or value <= limits["high"]
    return bool(above and below)


def wanted(declared: Field[Any]) -> str:
    """What a knob takes, in words."""
    limits = declared.metadata
    if limits["choices"]:
        number = "some" if isinstance(declared.default, tuple) else "one"
        return f"{number} of {', '.join(limits['choices'])}"
    kind = type(declared.default).__name__
    if limits["low"] is None and limits["high"] is None:
        return kind
    return f"{kind} from {limits['low']} to {limits['high']}"
