"""One camera without ROS: order of stamps, failing engines, mailbox, and what is told of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adverse_perception import transport
from adverse_perception.camera import Camera, Labelled
from adverse_perception.config import ConfigError, NodeConfig
from adverse_perception.diagnostics import (
    CameraHealth,
    Complaints,
    Level,
    Surroundings,
    Trouble,
    missing_stamps,
    period_ns,
)
from adverse_perception.engines import Engines
from adverse_perception.frames import Condition, Segmentation, Weather
from adverse_perception.inference import load_engine
from adverse_perception.mailbox import Mailbox
from adverse_perception.parameters import revised, unknown_names
from tests.test_messages import header, image, picture
from tests.test_pipeline import Failing

PERIOD_NS = 66_000_000


class Said:
    """A camera with engines that can be made to fail, and what it complained of."""

    def __init__(self, engines_path: Path) -> None:
        self.engines = {n: Failing(load_engine(engines_path / f"{n}.onnx")) for n in
                        ("clear", "all_weather")}  # fmt: skip
        routes = dict.fromkeys(Weather, self.engines["all_weather"])
        routes[Weather.CLEAR] = self.engines["clear"]
        self.config = NodeConfig(condition="rain")
        pipeline = Engines(None, routes).pipeline(self.config)
        self.causes: list[str] = []
        self.camera = Camera("front", pipeline, lambda _, cause, __: self.causes.append(cause))

    def label(self, stamp_s: float, encoding: str = "rgb8") -> Labelled | None:
        sec, rest = divmod(round(stamp_s * 1e9), 10**9)
        message = image(encoding, picture(32, 48), header=header(sec, rest))
        return self.camera.label(self.camera.receive(message), self.config)


@pytest.fixture
def said(engines_path: Path) -> Said:
    return Said(engines_path)


def test_a_frame_overtaken_by_another_is_dropped(said: Said) -> None:
    assert said.label(10.0)
    assert said.label(9.9) is None
    assert said.label(10.1)
    assert said.causes == [Trouble.OUT_OF_ORDER]


@pytest.mark.parametrize("stamp_s", [1.0, 9.0, 5000.0])
def test_a_jump_of_the_stamps_is_a_new_drive(said: Said, stamp_s: float) -> None:
    assert said.label(10.0)
    assert said.label(stamp_s)
    assert said.label(stamp_s + 0.1)
    assert said.causes == ([Trouble.NEW_DRIVE] if stamp_s < 10 else [])


def test_frames_without_stamps_are_labelled_all_the_same(said: Said) -> None:
    assert said.label(0.0) and said.label(0.0)


def test_an_engine_that_fails_is_stood_in_for_and_named(said: Said) -> None:
    said.engines["all_weather"].error = RuntimeError("out of memory")
    labelled = said.label(1.0)
    assert labelled and labelled.segmentation.engine == "clear"
    status = said.camera.health.status(0.0, Surroundings(silent_after_s=1e9))
    assert "all_weather failed on 1 frame(s)" in status.message
    assert "out of memory" in status.message


def test_the_next_frame_is_labelled_after_all_engines_failed(said: Said) -> None:
    for engine in said.engines.values():
        engine.error = RuntimeError("out of memory")
    assert said.label(1.0) is None
    for engine in said.engines.values():
        engine.error = None
    assert said.label(1.1)
    assert said.causes == [Trouble.FAILED]


def test_an_unusable_picture_is_named_and_the_next_one_labelled(said: Said) -> None:
    assert said.label(1.0, "never_heard_of") is None
    assert said.label(1.1)
    status = said.camera.health.status(0.0, Surroundings(silent_after_s=1e9))
    assert status.level is Level.WARN
    assert "'never_heard_of'" in status.message


def feed(health: CameraHealth, stamps: list[int]) -> None:
    for number, stamp in enumerate(stamps):
        health.received(stamp, number * 0.066)


def test_gaps_in_the_stamps_are_told_as_lost_transport_with_the_way_out() -> None:
    health = CameraHealth("front")
    feed(health, [n * PERIOD_NS for n in range(60) if n % 3])
    around = Surroundings(transport=transport.advice(), silent_after_s=10)
    status = health.status(40 * 0.066, around)
    assert status.level is Level.WARN
    assert "32% of the pictures never arrive" in status.message
    assert "fastdds.xml" in status.message


def test_losses_the_middleware_reports_are_told_too() -> None:
    health = CameraHealth("front")
    feed(health, [n * PERIOD_NS for n in range(20)])
    health.note(Trouble.LOST, 1.0, count=20)
    status = health.status(1.4, Surroundings(silent_after_s=10))
    assert "50% of the pictures are lost" in status.message
    assert status.values["dropped_lost_in_transport"] == "20"


def test_a_slow_machine_is_not_blamed_on_the_transport() -> None:
    health = CameraHealth("front")
    feed(health, [n * PERIOD_NS for n in range(20)])
    health.note(Trouble.SUPERSEDED, 1.3, count=10)
    status = health.status(1.4, Surroundings(silent_after_s=10))
    assert list(status.findings) == [Trouble.SUPERSEDED]
    assert status.values["dropped_superseded"] == "10"


def test_key_frames_are_told_apart_in_share_distortion_and_latency() -> None:
    health = CameraHealth("front")
    whole = Segmentation(*[picture(2, 2)[..., 0]] * 2, Condition(Weather.CLEAR), "clear")
    between = replace(whole, keyframe=False, distortion=0.125)
    health.labelled(replace(whole, distortion=0.5), {"latency": 999.0}, -9.0)  # long ago
    for number in range(10):
        key = number % 5 == 0
        health.labelled(whole if key else between, {"latency": 40.0 if key else 10.0}, number / 10)
    values = health.status(1.0, Surroundings(silent_after_s=10)).values
    assert (values["keyframes"], values["distortion"]) == ("0.20", "0.125")
    assert (values["latency_p50_ms"], values["latency_mean_ms"]) == ("10.00", "16.00")
    assert values["latency_keyframe_p50_ms"] == "40.00"


def test_nothing_is_said_of_key_frames_before_the_first_frame() -> None:
    values = CameraHealth("front").status(0.0, Surroundings()).values
    assert not {"keyframes", "distortion", "latency_mean_ms"} & set(values)


def test_a_camera_is_silent_and_comes_back() -> None:
    health = CameraHealth("front")
    feed(health, [0])
    nobody = Surroundings(topic="/front/image_raw", silent_after_s=1)
    silent = health.status(3.0, nobody)
    assert silent.level is Level.STALE
    assert "no picture for 3 s: nobody publishes /front/image_raw" in silent.message
    health.received(PERIOD_NS, 3.1)
    assert health.status(3.2, nobody).level is Level.OK


def test_a_complaint_is_made_once_per_cause_and_again_later() -> None:
    complaints = Complaints(again_after_s=30)
    said = [complaints.due("front", "unusable", t) for t in (0, 1, 29, 31)]
    assert said == [True, False, False, True]
    assert complaints.due("front", "failed", 1)
    assert complaints.due("rear", "unusable", 1)


@given(jitter=st.lists(st.floats(-0.1, 0.1), min_size=30, max_size=60))
def test_jittery_stamps_are_not_taken_for_loss(jitter: list[float]) -> None:
    stamps = [round((n + j) * PERIOD_NS) for n, j in enumerate(jitter)]
    assert period_ns(stamps) == pytest.approx(PERIOD_NS, rel=0.3)
    assert missing_stamps(stamps) == 0


def take(box: Mailbox[int]) -> tuple[str, int] | None:
    with box.taken() as taken:
        return taken


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_the_mailbox_keeps_the_newest_of_each_and_counts_the_rest(senders: list[str]) -> None:
    box: Mailbox[int] = Mailbox()
    replaced = [box.put(sender, number) for number, sender in enumerate(senders)]
    newest = {sender: number for number, sender in enumerate(senders)}
    taken = dict(take(box) or ("", -1) for _ in newest)
    assert taken == newest
    assert sum(replaced) == len(senders) - len(newest)


def test_cameras_are_served_in_turn() -> None:
    box: Mailbox[int] = Mailbox()
    box.put("fast", 0)
    box.put("slow", 0)
    served = []
    for number in range(4):
        with box.taken() as taken:
            assert taken
            served.append(taken[0])
            box.put("fast", number)
            box.put("slow", number)
    assert served == ["fast", "slow", "fast", "slow"]


def test_frames_of_one_camera_are_never_worked_on_at_the_same_time() -> None:
    box: Mailbox[int] = Mailbox()
    box.put("left", 1)
    with box.taken():
        box.put("left", 2)
        box.put("right", 3)
        assert take(box) == ("right", 3)
    assert take(box) == ("left", 2)


def test_a_picture_that_waits_for_its_predecessor_is_taken_as_soon_as_that_is_done() -> None:
    box: Mailbox[int] = Mailbox()
    box.put("left", 1)
    found: list[object] = []
    with box.taken():
        box.put("left", 2)
        reader = threading.Thread(target=lambda: found.append(take(box)))
        reader.start()
        reader.join(0.05)
        assert found == []
    reader.join(10)
    assert found == [("left", 2)]


def test_closing_the_mailbox_frees_the_reader() -> None:
    box: Mailbox[int] = Mailbox()
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(take(box)))
    reader.start()
    box.close()
    reader.join(10)
    assert found == [None]


def test_auto_is_refused_where_nothing_can_recognise_the_weather(said: Said) -> None:
    engines = Engines(None, dict.fromkeys(Weather, said.engines["clear"]))
    with pytest.raises(ConfigError, match="needs a weather engine"):
        revised(said.config, {"condition": "auto"}, engines)


@pytest.mark.parametrize("weathers", [(), ("fog",), ("clear", "rain", "fog", "night")])
def test_any_weathers_may_be_carried_on(said: Said, weathers: tuple[str, ...]) -> None:
    engines = Engines(None, dict.fromkeys(Weather, said.engines["clear"]))
    assert revised(said.config, {"propagated": [*weathers]}, engines).propagated == weathers


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("propagated", ("clear", "snow"), "some of clear, rain, fog, night, found"),
        ("propagated", ([],), "some of"),
        ("propagated", "clear", "some of"),
        ("keyframe_interval", 0, "from 1 to 1000"),
        ("distortion_limit", 1.1, "from 0.0 to 1.0"),
        ("distortion_limit", float("nan"), "from 0.0 to 1.0"),
        ("keyframe_gap_s", -0.1, "from 0.0 to 60.0"),
    ],
)
def test_settings_of_key_frames_that_mean_nothing_are_refused(
    name: str, value: object, words: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .*{words}"):
        NodeConfig(**{name: value})


def test_an_unknown_parameter_is_named_with_the_nearest_one() -> None:
    given_names = ["thread", "use_sim_time", "qos_overrides./a/b.publisher.depth", "threads"]
    assert list(unknown_names(given_names)) == ["unknown parameter thread: did you mean threads?"]


@pytest.mark.parametrize("cameras", [(), ("a", "a"), ("a b",), ("",), ("a/",), ("1a",)])
def test_cameras_need_usable_names_that_differ(cameras: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="cameras"):
        NodeConfig(cameras=cameras)


def test_the_topic_of_the_pictures_lies_below_the_camera() -> None:
    NodeConfig(cameras=("/car/front",), image_topic="left/image_raw")
    with pytest.raises(ConfigError, match="found '/image_raw'"):
        NodeConfig(image_topic="/image_raw")


def test_the_profile_of_the_user_stays_in_force() -> None:
    own = {"FASTDDS_DEFAULT_PROFILES_FILE": "/etc/mine.xml"}
    transport.prepare(own)
    assert transport.profile_in_force(own) == "/etc/mine.xml"
    empty: dict[str, str] = {}
    transport.prepare(empty)
    assert Path(empty[transport.PROFILE_VARIABLE]).name == "fastdds.xml"
    assert "cyclone" in transport.advice({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
