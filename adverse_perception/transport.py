"""What lets camera-sized messages through: Fast DDS's profile and the allocator's thresholds.

Both must be in force before the first node of the process exists; neither needs ROS.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import MutableMapping

import cv2

from adverse_perception.share import shares

PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""Environment variable of the profile; Jazzy reads only this one, newer Fast DDS both."""

_NEWER_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
_TRIM_THRESHOLD = 1 << 30


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make this process ready for camera pictures; what the user has set stays."""
    profile = profile_in_force(environment) or shipped_profile()
    if profile:
        environment.setdefault(PROFILE_VARIABLE, profile)
    keep_large_buffers_on_heap()
    cv2.setNumThreads(1)  # its small steps would wait for whichever core is busiest


def profile_in_force(environment: MutableMapping[str, str] = os.environ) -> str:
    """Path of the Fast DDS profile of this process; empty when there is none."""
    return environment.get(PROFILE_VARIABLE) or environment.get(_NEWER_VARIABLE, "")


def advice(environment: MutableMapping[str, str] = os.environ) -> str:
    """What a user can do when pictures are lost between the processes of a machine."""
    middleware = environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if "fastrtps" not in middleware:
        return f"give {middleware} larger receive buffers, and the kernel (net.core.rmem_max)"
    profile = profile_in_force(environment) or shipped_profile()
    cause = "Fast DDS's shared memory is too small for camera pictures, or a process too busy"
    settings = f"{PROFILE_VARIABLE}={profile or 'config/fastdds.xml'}"
    return f"{cause}; start the camera driver or bag player with {settings} as well"


def shipped_profile() -> str:
    """Path of the profile that comes with the package; empty when it was installed without."""
    found = (root / "config" / "fastdds.xml" for root in shares())
    return next((str(path) for path in found if path.is_file()), "")


def keep_large_buffers_on_heap() -> bool:
    """Stop glibc from mapping and unmapping every picture; False where that is not possible.

    Page faults of fresh mappings double the time a 6 MB picture takes to arrive. Raising only one
    of the two thresholds makes it worse.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(
            libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        )
    except (OSError, AttributeError):  # another C library
        return False
