"""What makes a notebook run in Colab: the badge, the set-up cell, and the address of the repository that both need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from course_lib.running.executing import write_text_atomically

SETUP_MARK = "# SET-UP"
SETUP_CELL = '''\
# SET-UP: does nothing where course_lib is installed; elsewhere (Colab) it installs what is missing, and only that.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("course_lib") is None:
    for command in (
        ["pip", "install", "--no-deps", "ADDRESS"],
        ["course_lib.commands.doctor", "--install-missing"],  # leaves torch, torchaudio and numpy exactly as they are
    ):
        done = subprocess.run([sys.executable, "-m", *command], text=True, capture_output=True)
        print(done.stdout + done.stderr)
        done.check_returncode()
    importlib.invalidate_caches()
'''
COLAB = "https://colab.research.google.com"
BADGE_LINE = re.compile(r"^\[!\[Open in Colab\]\(.*\)\s*$", re.MULTILINE)
REPOSITORY_LINE = re.compile(r'^Repository = "https://github\.com/([\w.-]+/[\w.-]+)"$', re.MULTILINE)


class ReleaseError(Exception):
    """Something that cannot be released; the message names the file and the cell, and says what to do."""


def repository(root: Path) -> str:
    """OWNER/NAME, from the one place where the repository's address stands: pyproject.toml, [project.urls]."""
    text = (root / "pyproject.toml").read_text("utf-8")
    address = tomllib.loads(text).get("project", {}).get("urls", {}).get("Repository", "")
    if not (match := REPOSITORY_LINE.search(text)) or not address.endswith(match[1]):
        raise ReleaseError(f'pyproject.toml: need Repository = "https://github.com/OWNER/NAME", got {address!r}')
    return match[1]


def set_repository(root: Path, repo: str) -> None:
    """Write OWNER/NAME into pyproject.toml, and over the old address in README.md.

    Raises: ReleaseError if `repo` is not of the form OWNER/NAME.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ReleaseError(f"--repo: got {repo!r}, need OWNER/NAME as in the repository's address")
    old = repository(root)
    for name in ("pyproject.toml", "README.md"):
        text = (root / name).read_text("utf-8")
        changed = re.sub(rf"github\.com/{re.escape(old)}(?![\w-])", f"github.com/{repo}", text)
        if changed != text:
            write_text_atomically(root / name, changed)


def setup_source(repo: str) -> str:
    """The set-up cell for a repository OWNER/NAME."""
    return SETUP_CELL.replace("ADDRESS", f"git+https://github.com/{repo}").rstrip()


def badge(name: str, repo: str) -> str:
    """The line that opens the learners' notebook `name` in Colab."""
    link = f"{COLAB}/github/{repo}/blob/main/notebooks/{name}.ipynb"
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({link})"
