"""Label the cameras of a car: the node, its transport set-up and, if wanted, RViz.

ros2 launch adverse_perception car.launch.py cameras:=front,rear rviz:=true
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PACKAGE = "adverse_perception"
UNSET = ""
"""Value of an argument that leaves the parameter to the file."""


def share(*path: str) -> PathJoinSubstitution:
    """Path of an installed file of the package."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *path])


def argument(name: str, default: object, description: str, *choices: str) -> DeclareLaunchArgument:
    """Declare an argument; `ros2 launch ... --show-args` prints them all."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices or None
    )


ARGUMENTS = (
    argument("namespace", UNSET, "namespace of the node and its topics"),
    argument("cameras", UNSET, "names of the cameras, comma-separated; empty = params_file's"),
    argument("image_topic", UNSET, "topic of the pictures below each camera, such as image_raw"),
    argument(
        "image_transport",
        UNSET,
        "raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage",
        UNSET,
        "raw",
        "compressed",
    ),
    argument("engines", UNSET, "folder of the engine files; empty = the shipped ones"),
    argument(
        "backend",
        UNSET,
        "what runs the engines",
        UNSET,
        "onnxruntime",
        "openvino",
        "tensorrt",
        "tensorrt_rtx",
        "auto",
    ),
    argument(
        "precision",
        UNSET,
        "what the engines calculate in; auto = fp16 on TensorRT where that costs little",
        UNSET,
        "auto",
        "fp32",
        "fp16",
        "int8",
    ),
    argument(
        "condition",
        UNSET,
        "force the route of one weather; auto = the classifier decides",
        UNSET,
        "auto",
        "clear",
        "rain",
        "fog",
        "night",
    ),
    argument("params_file", share("config", "car.yaml"), "parameters of the node"),
    argument(
        "autostart",
        "true",
        "false: wait for a lifecycle manager (ros2 lifecycle set /adverse_perception configure)",
        "true",
        "false",
    ),
    argument("use_sim_time", "false", "take the time from /clock", "true", "false"),
    argument("log_level", "info", "how much the node says", "debug", "info", "warn", "error"),
    argument("rviz", "false", "show camera, overlay and labels in RViz", "true", "false"),
    argument("rviz_config", share("rviz", "car.rviz"), "what RViz shows"),
)

# Parameter -> launch argument, of those that may be left to the parameter file.
OVERRIDES = {
    "image_topic": "image_topic",
    "image_transport": "image_transport",
    "engines_folder": "engines",
    "backend": "backend",
    "precision": "precision",
    "condition": "condition",
}


def transport() -> list[SetEnvironmentVariable]:
    """Let camera-sized pictures through: Fast DDS's profile and the allocator's thresholds."""
    profile = EnvironmentVariable(
        "FASTRTPS_DEFAULT_PROFILES_FILE", default_value=share("config", "fastdds.xml")
    )
    thresholds = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824"
    tunables = EnvironmentVariable("GLIBC_TUNABLES", default_value=thresholds)
    return [
        SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
        SetEnvironmentVariable("GLIBC_TUNABLES", tunables),
    ]


def perception(context: LaunchContext) -> list[Node]:
    """The node, with the arguments that were given laid over the parameter file."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = {parameter: value(name) for parameter, name in OVERRIDES.items() if value(name)}
    cameras = [name.strip() for name in value("cameras").split(",") if name.strip()]
    switches = {name: value(name) == "true" for name in ("autostart", "use_sim_time")}
    return [
        Node(
            package=PACKAGE,
            executable="perception_node",
            namespace=value("namespace"),
            parameters=[
                value("params_file"),
                {**given, **switches, **({"cameras": cameras} if cameras else {})},
            ],
            arguments=["--ros-args", "--log-level", value("log_level")],
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Everything a car needs."""
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", LaunchConfiguration("rviz_config")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*ARGUMENTS, *transport(), OpaqueFunction(function=perception), rviz])
