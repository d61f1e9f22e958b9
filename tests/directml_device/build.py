"""Builds the software Direct3D 12 device; the result is cached by the content of its sources.

python tests/directml_device/build.py            # builds if need be, prints the environment
eval "$(python tests/directml_device/build.py)"  # and sets it in this shell
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "device")
HEADERS = "/usr/include/wsl/stubs"
PACKAGES = "g++ clang-19 llvm-19 directx-headers-dev"
TOOLS = ("g++", "clang-19", "clang++-19", "opt-19", "llvm-as-19", "llvm-link-19")
# What -march=x86-64-v3 takes for granted.
CPU_FEATURES = {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}

GXX = ["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-fPIC", "-pthread"]
GXX += ["-fvisibility=hidden", "-isystem", HEADERS]
SHARED = ["g++", "-shared", "-pthread", "-Wl,-z,defs"]
CLANG = ["clang++-19", "-std=c++20", "-O2", "-march=x86-64-v3", "-ffp-contract=off", "-fPIC"]
CLANG += ["-Wall", "-Wextra", "-emit-llvm", "-c", "-Xclang", "-disable-llvm-passes"]
# What compiled shaders depend on: they stay valid when other sources change.
SHADER_SOURCES = ("dx_container.cpp", "shader_abi.h", "shader_compiler.cpp", "shader_runtime.cpp")
SHADER_SOURCES += ("shader_runtime.ll", "shader_text.cpp", "shader_text.h")
# Sources that do not belong to libd3d12.so.
APART = ("dxcore.cpp", "shader_runtime.cpp", "test_driver.cpp")


def what_is_missing() -> str:
    """Return why the device cannot be built here, in one line; empty if it can."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "the software Direct3D 12 device runs on Linux on x86-64 only"
    with open("/proc/cpuinfo") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    if not CPU_FEATURES.issubset(flags):
        lacking = " ".join(sorted(CPU_FEATURES.difference(flags)))
        return f"the software Direct3D 12 device needs a processor with {lacking}"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    missing += [
        path for path in ("/usr/include/directx/d3d12.h", HEADERS) if not os.path.exists(path)
    ]
    if missing:
        return f"not found: {', '.join(missing)} (Debian 12: apt-get install {PACKAGES})"
    return ""


def cache_folder() -> str:
    """Return the folder for libraries and compiled shaders, outside of the project."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "directml_device")


def build() -> str:
    """Return the folder with libd3d12.so and libdxcore.so, built if the sources are new.

    Raises RuntimeError if the tools are missing or a source does not compile.
    """
    missing = what_is_missing()
    if missing:
        raise RuntimeError(missing)
    own_source = os.path.abspath(__file__)  # it holds the compilers' options
    folder = os.path.join(
        cache_folder(), f"build-{_content_hash(*os.listdir(SOURCES), own_source)}"
    )
    if os.path.isdir(folder):
        return folder
    os.makedirs(cache_folder(), exist_ok=True)
    draft = tempfile.mkdtemp(prefix="draft-", dir=cache_folder())
    try:
        _compile(draft)
        os.rename(draft, folder)
    except OSError:
        # Another process was first.
        if not os.path.isdir(folder):
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def environment(**options: object) -> dict[str, str]:
    """Return what a process needs in its environment to find the device.

    Options are faults and outputs that README.md lists, in lower case and without prefix, for
    example `remove_after=100`. Add the result to a copy of `os.environ`.
    """
    folder = build()
    found = {
        "LD_LIBRARY_PATH": folder,
        "DIRECTML_DEVICE_CACHE": os.path.join(cache_folder(), "shaders"),
    }
    if os.environ.get("LD_LIBRARY_PATH"):
        inherited = os.environ["LD_LIBRARY_PATH"].split(os.pathsep)
        others = [path for path in inherited if path != folder]
        found["LD_LIBRARY_PATH"] = os.pathsep.join([folder, *others])
    for name, value in options.items():
        found[f"DIRECTML_DEVICE_{name.upper()}"] = str(value)
    return found


def _content_hash(*names: str) -> str:
    """Return a hash of these sources' names and contents."""
    digest = hashlib.sha256()
    for name in sorted(names):
        with open(os.path.join(SOURCES, name), "rb") as file:
            digest.update(os.path.basename(name).encode() + b"\0" + file.read())
    return digest.hexdigest()[:16]


def _run(*command: str) -> None:
    done = subprocess.run(
        command, cwd=SOURCES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)} failed:\n{output}")


def _compile(folder: str) -> None:
    names = [name for name in sorted(os.listdir(SOURCES)) if name.endswith(".cpp")]
    objects = {name: os.path.join(folder, f"{name[:-4]}.o") for name in names}
    version_flag = f'-DSHADER_VERSION="{_content_hash(*SHADER_SOURCES)}"'

    def compile_one(name: str) -> None:
        if name == "shader_runtime.cpp":
            _run(*CLANG, name, "-o", objects[name])
        else:
            _run(*GXX, version_flag, "-c", name, "-o", objects[name])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(compile_one, names))

    def output(name: str) -> str:
        return os.path.join(folder, name)

    _run("llvm-as-19", "shader_runtime.ll", "-o", output("adapters.bc"))
    runtime = objects["shader_runtime.cpp"]
    _run("llvm-link-19", runtime, output("adapters.bc"), "-o", output("shader_runtime.bc"))
    device = [objects[name] for name in names if name not in APART]
    for library, inputs in (
        ("libd3d12.so", [*device, "-ldl"]),
        ("libdxcore.so", [objects["dxcore.cpp"]]),
        (
            "libdirectml_device_test.so",
            [objects["test_driver.cpp"], f"-L{folder}", "-ld3d12", "-Wl,-rpath,$ORIGIN"],
        ),
    ):
        _run(*SHARED, f"-Wl,-soname,{library}", "-o", output(library), *inputs)
    for path in [*objects.values(), output("adapters.bc")]:
        os.remove(path)


if __name__ == "__main__":
    try:
        for key, setting in environment().items():
            print(f"export {key}={setting}")
    except RuntimeError as error:
        sys.exit(f"{error}")
