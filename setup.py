"""Describes the package to colcon (ament_python) and to pip."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

NAME = "adverse_perception"
SHARE = f"share/{NAME}"
HERE = Path(__file__).resolve().parent

MANIFEST = ElementTree.parse(HERE / "package.xml")
RUNTIME = [
    "numpy>=1.21,<3",
    # Headless: the other build of OpenCV needs libGL, which servers and fresh machines lack.
    "opencv-python-headless>=4.5,<6",
    "onnxruntime>=1.16,<2",
    "numba>=0.56,<1",
    "rosbags>=0.11,<0.12",
    "tqdm>=4.60,<5",
]
EXTRAS = {
    # The real ROS 2 Jazzy as wheels (x86-64 Linux); do not mix with a sourced ROS installation.
    "ros": [
        "ros-rclpy[fastrtps]==7.1.6",
        "ros-jazzy-sensor-msgs==5.3.6",
        "ros-jazzy-std-msgs==5.3.6",
        "ros-jazzy-diagnostic-msgs==5.3.6",
        "ros-jazzy-lifecycle-msgs==2.0.3",
    ],
    "openvino": ["openvino>=2024.4,<2027"],
    # TensorRT proper comes from NVIDIA or with JetPack, see docs/tensorrt.md.
    "tensorrt_rtx": ["tensorrt-rtx>=1.7,<2"],
    # For drivers of CUDA 13. Those of CUDA 12 (JetPack 6): pycuda, which is preferred everywhere
    # and built against the CUDA toolkit there, or cuda-bindings<13 and nvidia-cuda-nvrtc-cu12.
    "cuda": ["cuda-bindings>=13,<14", "nvidia-cuda-nvrtc>=13,<14"],
    "train": [
        "torch>=2.13,<2.14",
        "onnx>=1.17,<2",
        "onnxscript>=0.5,<1",
        "scikit-image>=0.25,<1",
        "pillow>=10,<14",
        "tensorboard>=2.17,<3",
    ],
    "dev": [
        "hypothesis>=6.100,<7",
        "import-linter>=2.1,<3",
        "mypy>=1.13,<3",
        "pytest>=8,<10",
        "pytest-timeout>=2.3,<3",
        "ruff>=0.9,<1",
        "tensorrt-rtx>=1.7,<2; sys_platform == 'linux'",
        "torchmetrics>=1.5,<2",
    ],
}


def files(pattern: str) -> list[str]:
    """Files of the checkout that match, relative to it, as `data_files` wants them."""
    return sorted(str(path.relative_to(HERE)) for path in HERE.glob(pattern) if path.is_file())


setup(
    name=NAME,
    version=MANIFEST.findtext("version"),
    description=" ".join(MANIFEST.findtext("description").split()),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="adverse_perception maintainers",
    maintainer=MANIFEST.findtext("maintainer"),
    maintainer_email=MANIFEST.find("maintainer").get("email"),
    license=MANIFEST.findtext("license"),
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.cu", "**/*.cuh"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", files("launch/*.launch.py")),
        (f"{SHARE}/config", files("config/*")),
        (f"{SHARE}/rviz", files("rviz/*.rviz")),
        (f"{SHARE}/engines", files("engines/*.onnx")),
        (f"{SHARE}/engines/fp16", files("engines/fp16/*.onnx")),
        (f"{SHARE}/engines/int8", files("engines/int8/*.onnx")),
    ],
    install_requires=RUNTIME,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            f"adverse-perception = {NAME}.cli:main",
            f"perception_node = {NAME}.node:main",
        ],
    },
    zip_safe=False,
)
