"""What a result was made with: versions, commit, device."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from functools import cache

from polyml.versions import installed_versions


def git_commit() -> dict[str, str]:
    """Return commit and state ("clean", "changed") of the git checkout around the current folder, if there is one."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "state": "changed" if _git("status", "--porcelain", "-uno") else "clean"}


def _git(*arguments: str) -> str:
    # A result must never be lost because git is missing, slow, or distrusts the folder's owner.
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def device() -> str:
    """Return the accelerators torch can use, ``"2 x NVIDIA H100 80GB HBM3"`` say, or ``"cpu"``."""
    try:
        import torch
    except ImportError:
        return "cpu"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return "mps" if torch.backends.mps.is_available() else "cpu"


def standard_tags() -> dict[str, str]:
    """Return the tags every run carries; the names with ``mlflow.`` are those the MLflow UI shows."""
    tags = {f"version.{name}": value for name, value in installed_versions().items()}
    tags |= {"device": device(), "platform": platform.platform()}
    tags |= {"mlflow.source.type": "LOCAL", "mlflow.source.name": " ".join(["polyml", *sys.argv[1:2]])}
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user id often has no name
        tags["mlflow.user"] = "unknown"
    git = git_commit()
    if git:
        tags |= {"mlflow.source.git.commit": git["commit"], "git.state": git["state"]}
    return tags
