"""Interpreters of folders with requirements of their own: one environment per lock digest, installed by uv, shared by all
versions that pin the same.

<data>/environments/<digest>/bin/python     a virtual environment: what is pinned, pydantic, and `runtime`

An environment sees the authoring API through a link to OnCue's `runtime` package, which needs pydantic and nothing else:
of what OnCue itself has installed, it sees nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import runtime
from runtime.authoring.errors import DeclarationError
from runtime.versions.requirements import Requirements, read_requirements
from runtime.versions.unpacked import Shelf

#: Seconds that resolving and installing may take.
INSTALL_WITHIN_S = 600.0
#: Environments kept on a host besides those in use.
MAX_ENVIRONMENTS = 20
#: Characters of the installer's own words that are told.
MAX_SAID = 4000

#: Settings of a person's shell that would lead the installer to another project or interpreter.
_FOREIGN = ("VIRTUAL_ENV", "UV_PROJECT", "UV_PYTHON", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX", "ONCUE_")


class Environments:
    """The environments below `<data>/environments`. Safe to share between threads and processes."""

    def __init__(self, data: Path, *, uv: str | None = None) -> None:
        self._root = data.absolute() / "environments"
        self._shelf = Shelf(self._root)
        self._uv = uv

    def lock(self, folder: Path) -> str:
        """Return a folder's requirements, each pinned, with all that they need; empty when this interpreter has them all.

        Raises:
            DeclarationError: they cannot be had together; with the installer's own words.
        """
        wanted = read_requirements(folder)
        if wanted is None or wanted.are_met_here():
            return ""
        options = ("--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--python", sys.executable)
        if wanted.file == "pyproject.toml" and (folder / "uv.lock").is_file():
            exported = ("export", "--quiet", "--frozen", "--no-emit-project", "--no-dev", "--no-header", "--no-annotate")
            locked = self._run(wanted, folder, *exported)
            return self._run(wanted, folder, "pip", "compile", *options, "-", said=f"{locked}\n{_pydantic()}\n")
        return self._run(wanted, folder, "pip", "compile", *options, wanted.file, "-", said=f"{_pydantic()}\n")

    def python(self, folder: Path, lock: str = "") -> str:
        """Return the interpreter that runs a folder; installs its environment unless it is there.

        `lock` as `lock()` returned it, which counts also where OnCue has it all by now. Without one the folder is locked
        here and now.

        Raises:
            DeclarationError: it cannot be installed; with the installer's own words.
        """
        wanted = read_requirements(folder)
        if wanted is None or not (lock or (lock := self.lock(folder))):
            return sys.executable
        place = self._shelf.take(_digest(lock), lambda target: self._install(wanted, folder, lock, target))
        return str(place / "bin" / "python")

    def let_go(self, python: str) -> None:
        """Use the environment of an interpreter no more; OnCue's own needs no letting go."""
        self._shelf.let_go(Path(python).parent.parent.name)

    def sweep(self, *, most: int = MAX_ENVIRONMENTS) -> list[str]:
        """Remove the environments that were not used for longest, down to `most`; return their names."""
        return self._shelf.sweep(most)

    def _install(self, wanted: Requirements, folder: Path, lock: str, target: Path) -> None:
        with (self._root / f".{target.name}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # of two that want the same, one installs
            if target.is_dir():
                return
            staging = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
            try:
                self._run(wanted, folder, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(staging))
                python = str(staging / "bin" / "python")
                install = ("pip", "install", "--quiet", "--compile-bytecode", "--no-deps", "--python", python)
                # Hashes are checked where the lock has them; it has none for what comes from a version control system.
                self._run(wanted, folder, *install, "--requirement", "-", said="\n".join((*wanted.sources, lock)))
                version = f"python{sys.version_info.major}.{sys.version_info.minor}"
                (staging / "lib" / version / "site-packages" / "runtime").symlink_to(_authoring_api())
                staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def _run(self, wanted: Requirements, folder: Path, *words: str, said: str = "") -> str:
        uv = self._uv or find_uv()
        if uv is None:
            raise DeclarationError(
                "its requirements are not installed beside OnCue, and uv, which would install them, is not on PATH; install uv",
                file=wanted.file,
            )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        try:
            done = subprocess.run(
                [uv, *words],
                input=said,
                cwd=folder,  # what is named by a relative path is found there
                env={"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "1", "NO_COLOR": "1", **kept},
                capture_output=True,
                text=True,
                timeout=INSTALL_WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            reason = f"installing took longer than {INSTALL_WITHIN_S:g} s; see whether the package index answers"
            raise DeclarationError(reason, file=wanted.file) from error
        if done.returncode:
            words_said = (done.stderr or done.stdout).strip()[-MAX_SAID:]
            raise DeclarationError(f"its requirements cannot be installed; uv says:\n{words_said}", file=wanted.file)
        return done.stdout


def find_uv() -> str | None:
    """Return the installer: beside this interpreter, on PATH, or in the checkout's `.tools`."""
    beside = Path(sysconfig.get_path("scripts"), "uv")
    if beside.is_file():
        return str(beside)
    fetched = sorted((_authoring_api().parent / ".tools").glob("*/bin/uv"))
    return shutil.which("uv") or (str(fetched[-1]) if fetched else None)


def _authoring_api() -> Path:
    assert runtime.__file__ is not None  # a package on disk has one
    return Path(runtime.__file__).resolve().parent


def _pydantic() -> str:
    """The pydantic that an environment may have: what the authoring API was written for, and up to the next major one."""
    declared = (line for line in metadata.requires("oncue") or () if line.split(";")[0].strip().startswith("pydantic"))
    return next((line for line in declared if not line.startswith("pydantic-")), "pydantic>=2,<3")


def _digest(lock: str) -> str:
    facts = (lock, sys.version, sysconfig.get_platform(), str(_authoring_api()))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:20]
