"""Seeing the road in rain, fog and at night: a ROS 2 perception node."""

__version__ = "0.1.0"
