"""CUDA sources made into what a GPU loads, once for every source and architecture."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from adverse_perception.files import FileError, write_bytes
from adverse_perception.kernels.errors import DeviceError

_PLACES = ("/usr/local/cuda/bin/nvcc",)
"""Where nvcc lies when it is on no search path, as on a Jetson."""


def built(source: Path, architecture: str, cache: Path | None = None) -> bytes:
    """Compile a CUDA source for one architecture, or take it from the cache.

    Args:
        source: a .cu file; what it includes lies beside it and is called .cuh.
        architecture: such as sm_90.
        cache: folder to keep it in, None = the user's cache folder.

    Returns:
        A fatbin or a cubin.

    Raises:
        DeviceError: there is no compiler, or it refuses.
    """
    parts = {one.name: one.read_bytes() for one in sorted(source.parent.glob("*.cuh"))}
    parts[source.name] = source.read_bytes()
    checksum = hashlib.sha256(b"\0".join(parts.values())).hexdigest()[:16]
    kept = (cache or cache_folder()) / f"{source.stem}-{checksum}-{architecture}.bin"
    with contextlib.suppress(OSError):
        return kept.read_bytes()
    image = _compiled(source, parts, architecture)
    with contextlib.suppress(FileError):  # then it is compiled again at the next start
        write_bytes(kept, image)
    return image


def cache_folder() -> Path:
    """Where compiled kernels are kept, by the usual rules for such files."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (
        (Path(home) if home else Path("~/.cache").expanduser()) / "adverse_perception" / "kernels"
    )


def nvcc() -> str | None:
    """Path of NVIDIA's compiler, None where there is none."""
    roots = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    places = [*(str(Path(root) / "bin" / "nvcc") for root in roots), "nvcc", *_PLACES]
    return next((found for place in places if (found := shutil.which(place))), None)


def compile_by_nvcc(compiler: str, source: Path, architectures: Sequence[str]) -> bytes:
    """Compile to a fatbin for some architectures; needs no driver.

    Raises:
        DeviceError: it does not compile; the compiler's words are in it.
    """
    targets = [
        f"--generate-code=arch={one.replace('sm_', 'compute_')},code={one}"
        for one in architectures
    ]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.fatbin"
        options = ["--fatbin", "--std=c++17", *targets, "--output-file", str(made)]
        done = subprocess.run(
            [compiler, *options, str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DeviceError(
                f"{source.name}: {compiler} cannot compile it for {', '.join(architectures)}:"
                f" {done.stderr.strip() or done.stdout.strip()}"
            )
        return made.read_bytes()


def _compiled(source: Path, parts: Mapping[str, bytes], architecture: str) -> bytes:
    """Compile by nvcc where it is installed, by NVRTC otherwise."""
    compiler = nvcc()
    if compiler is not None:
        return compile_by_nvcc(compiler, source, [architecture])
    try:
        from adverse_perception.kernels.cuda_device import compile_by_nvrtc
    except ImportError as error:
        raise DeviceError(
            f"{source.name}: expected nvcc or cuda-bindings to compile it, found neither"
            f" ({error}); install the CUDA toolkit, or: pip install 'adverse_perception[cuda]'"
        ) from error
    return compile_by_nvrtc(source.name, parts, architecture)
