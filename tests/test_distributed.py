"""Several processes train one network. In a file of its own, before ROS is loaded beside torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.toys import TRAIN, write_data  # noqa: E402
from training import checkpoints  # noqa: E402


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch cannot train on several processes (no gloo)")
    data = write_data(tmp_path / "data")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "training.train", *TRAIN]
    command += [
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
        "--threads",
        "1",
        "--workers",
        "0",
    ]
    command += ["--steps", "2", "--batch", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    checkpoint = checkpoints.open_checkpoint(tmp_path / "run" / "last.pt")
    assert (checkpoint.step, checkpoint.learnt_from) == (2, ("camvid",))
