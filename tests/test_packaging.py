"""What pip installs: every module and command, from the wheel alone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lighthead

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("setuptools", minversion="77", reason="no setuptools to build with")
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools leaves its folders beside what it builds.
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no clone, so nothing says which files belong to it")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name.split("/")[0] in (
            *("nn", "detector", "multitask", "lighthead.py", "pyproject.toml", "setup.py"),
            *("README.md", "LICENSE"),
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    code = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_every_module_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    own = {
        path.relative_to(ROOT).as_posix()
        for package in ("nn", "detector", "multitask")
        for path in (ROOT / package).rglob("*.py")
    }
    assert own | {"lighthead.py", "nn/py.typed", "detector/py.typed"} <= names
    assert "detector/reporting/templates/report.html" in names
    assert not any(name.startswith(("tests", "chapters", "benchmarks")) for name in names)
    assert wheel.name.startswith(f"lighthead-{lighthead.__version__}-")


def test_it_runs_from_the_wheel_alone(wheel, tmp_path):
    """Unpacked elsewhere, with the packages of this environment and nothing of the repository."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import lighthead; "
        "assert 'site' in lighthead.__file__; "
        "sys.exit(lighthead.main(['summary', '--backbone', 'shufflenet_v2_x0_5']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "backbone" in done.stdout, done.stderr
