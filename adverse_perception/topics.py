"""What is published for one camera, and when: labels first, drawings only where somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adverse_perception.annotations import condition_json, label_info, label_info_json
from adverse_perception.camera import Labelled
from adverse_perception.drawing import caption, colour, overlay, write_text
from adverse_perception.frames import UInt8Array
from adverse_perception.messages import fill_image

IMAGES = ("labels", "confidence", "color", "overlay", "restored")
TEXTS = ("condition",)
LATCHED_TEXTS = ("label_info_json",)
CAMERA_INFO = "labels/camera_info"  # beside the labels: <camera>/camera_info is the camera's own
LABEL_INFO = "label_info"


class Topics:
    """The topics of one camera; knows of ROS only what a publisher can do."""

    def __init__(
        self, publishers: Mapping[str, Any], image: Callable[[], Any], text: Callable[[], Any]
    ) -> None:
        """Use the publishers, by name, and the makers of empty messages.

        Args:
            publishers: for every name of `IMAGES`, `TEXTS`, `LATCHED_TEXTS` and `CAMERA_INFO`;
                and for `LABEL_INFO` where vision_msgs is installed.
            image: makes a sensor_msgs/Image.
            text: makes a std_msgs/String.
        """
        self.publishers = publishers
        self._camera_info: Any = None
        self._image = image
        self._messages: dict[str, Any] = {}  # filled again for every picture
        self._text = text

    def keep_camera_info(self, message: Any) -> None:
        """Take the camera's newest sensor_msgs/CameraInfo; it goes out again with each frame."""
        self._camera_info = message

    def heard(self, name: str) -> bool:
        """Somebody listens to the topic."""
        return bool(self.publishers[name].get_subscription_count())

    def publish_labels(self, header: Any, labelled: Labelled) -> None:
        """Publish what others wait for, at once."""
        self._publish_picture("labels", header, labelled.segmentation.labels)

    def publish_rest(self, header: Any, labelled: Labelled, opacity: float) -> None:
        """Publish what goes with the labels; `opacity` is that of the overlay."""
        segmentation = labelled.segmentation
        self._publish_text(
            "condition", condition_json(segmentation, labelled.durations_ms, header)
        )
        info = self._camera_info
        if info is not None:
            info.header = header
            self.publishers[CAMERA_INFO].publish(info)
        drawings: dict[str, Callable[[], UInt8Array | None]] = {
            "confidence": lambda: segmentation.confidence,
            "restored": lambda: segmentation.restored,
            "color": lambda: colour(segmentation.labels),
            "overlay": lambda: _captioned_overlay(labelled, opacity),
        }
        for name, draw in drawings.items():
            if self.heard(name):
                self._publish_picture(name, header, draw())

    def publish_label_info(self) -> None:
        """Say which id is which class; latched, and repeated for those who pair it with labels."""
        self._publish_text("label_info_json", label_info_json())
        if LABEL_INFO in self.publishers:
            self.publishers[LABEL_INFO].publish(label_info())

    def _publish_picture(self, name: str, header: Any, picture: UInt8Array | None) -> None:
        if picture is not None:
            if name not in self._messages:
                self._messages[name] = self._image()
            message = self._messages[name]
            fill_image(message, picture, "mono8" if picture.ndim == 2 else "rgb8", header)
            self.publishers[name].publish(message)

    def _publish_text(self, name: str, text: str) -> None:
        message = self._text()
        message.data = text
        self.publishers[name].publish(message)


def _captioned_overlay(labelled: Labelled, opacity: float) -> UInt8Array:
    """The overlay with the condition written on it: RViz has no other place for words."""
    segmentation = labelled.segmentation
    drawn = overlay(labelled.frame.image, segmentation.labels, opacity)
    return write_text(drawn, caption(segmentation.condition))
