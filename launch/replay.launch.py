"""Play a bag into the node.

ros2 launch adverse_perception replay.launch.py bag:=yesterday cameras:=front rviz:=true

For figures that are the same in every run use `adverse-perception replay`: a played bag drops
frames as a camera does.
"""

from __future__ import annotations

import shlex

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def player(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    """The bag player, in the transport set-up of the car's launch file."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    command = ["ros2", "bag", "play", value("bag"), "--clock", "--rate", value("rate")]
    command += ["--delay", value("delay")]
    command += ["--loop"] if value("loop") == "true" else []
    command += ["--remap", *shlex.split(value("remap"))] if value("remap") else []
    play = ExecuteProcess(cmd=command, output="screen", emulate_tty=True)
    end = RegisterEventHandler(
        OnProcessExit(target_action=play, on_exit=[Shutdown(reason="the bag is over")])
    )
    return [play, end]


def generate_launch_description() -> LaunchDescription:
    """The car's node on simulated time, and the bag."""
    car = PathJoinSubstitution([FindPackageShare("adverse_perception"), "launch", "car.launch.py"])
    switch = ["true", "false"]
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="folder or file of the bag to play"),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="speed; 2.0 = twice as fast"
            ),
            DeclareLaunchArgument(
                "delay", default_value="3.0", description="wait for the engines to load, s"
            ),
            DeclareLaunchArgument(
                "loop", default_value="false", choices=switch, description="begin again at the end"
            ),
            DeclareLaunchArgument(
                "remap",
                default_value="",
                description="topics of the bag, as in /old/image:=/front/image_raw",
            ),
            # after these come the arguments of car.launch.py: cameras, engines, rviz, ...
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(car),
                launch_arguments={"use_sim_time": "true"}.items(),
            ),
            OpaqueFunction(function=player),
        ]
    )
