"""The texts of programs: kernel files with their defines, several in one where need be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from app.engine.ir import Launch, Local

# A kernel file and its defines.
Kind = tuple[str, frozenset[tuple[str, str | int]]]
# A kernel of such a file, and its work-group.
Key = tuple[str, Kind, tuple[int, ...]]
# Writes a program for launches; tells the name that the kernel of each has there.
Writer = Callable[[Sequence[Launch]], tuple[str, list[str]]]
MACRO = re.compile(r"^\s*#\s*define\s+(\w+)", re.MULTILINE)
OWN = re.compile(r"^(?:(?:static )?inline \w+ (?=\w+\()|typedef .* (?=\w+;))(\w+)", re.MULTILINE)
ENTRY = re.compile(r"^(?:__kernel .*)?void (\w+)\(", re.MULTILINE)
# Between these a kernel file is one of plain functions, which are told their position.
PLAIN = """#define reqd_work_group_size(x, y, z)
#define get_global_id(axis) G##axis
"""
# Of these a copy is better: LLVM 15 orders the products of a function that was never copied so
# that some of their tiles do not fit the registers, which takes a third more time.
COPIED = {"conv", "matmul"}
# A function that is not copied into its callers, and one that is.
ALONE, WITHIN = "__attribute__((noinline))", "static"
# The numbers that a kernel may have for arguments.
NUMBERS = {"int32": "int", "float32": "float"}
POSITION = "size_t G0, size_t G1, size_t G2"
KERNELS = """#undef get_global_id
#undef reqd_work_group_size
"""


def kind_of(source: str, defines: Mapping[str, str | int]) -> Kind:
    """What tells programs of one file apart."""
    return source, frozenset(defines.items())


def key_of(launch: Launch) -> Key:
    """What tells the kernels of launches apart."""
    return launch.kernel, kind_of(launch.source, launch.defines), launch.local_size


def assemble(source: str, defines: Mapping[str, str | int]) -> str:
    """The full text of a program: defines, the common header, the kernel file."""
    lines = [f"#define {name} {value}" for name, value in sorted(defines.items())]
    return "\n".join([*lines, _file("common.h"), _file(f"{source}.cl")])


@cache
def parameters(source: str, kernel: str) -> tuple[str, ...]:
    """What a kernel's file declares its arguments as; those of epilogues are in no file."""
    found = re.search(rf"\bvoid {kernel}\(([^)]*)\)", _file(f"{source}.cl"))
    return tuple(p.strip() for p in found[1].split(",")) if found else ()


def renamed(source: str, defines: Mapping[str, str | int], prefix: str,
            function: str = "") -> str:
    """The same with a prefix before every name of its own, which it takes back at the end: such
    texts may follow each other in one program.

    function: how its kernels are declared if they are functions, to stand between PLAIN and
    KERNELS; they get their position before their own arguments.
    """
    text = assemble(source, defines)
    lines = [f"#define __kernel {function}"] if function else []
    lines += [f"#define {name}(...) {prefix}{name}({POSITION}, __VA_ARGS__)" if function else
              f"#define {name} {prefix}{name}" for name in _names(ENTRY, source)]
    lines += [f"#define {name} {prefix}{name}" for name in _names(OWN, source)]
    names = dict.fromkeys([*MACRO.findall("\n".join(lines)), *map(_bare, defines),
                           *_names(MACRO, source)])
    return "\n".join([*lines, text, *(f"#undef {name}" for name in names)])


def kernels(launches: Sequence[Launch]) -> tuple[str, list[str]]:
    """A program of kernels as their files have them."""
    prefixes: dict[Kind, str] = {}
    texts = []
    for launch in launches:
        kind = kind_of(launch.source, launch.defines)
        if kind not in prefixes:
            prefixes[kind] = f"k{len(prefixes)}_"
            texts.append(renamed(launch.source, launch.defines, prefixes[kind]))
    return "\n".join(texts), [prefixes[kind_of(s.source, s.defines)] + s.kernel for s in launches]


def entries(launches: Sequence[Launch]) -> tuple[str, list[str]]:
    """A program of kernels that do nothing but call a function, for CPUs.

    PoCL copies a kernel that asks for its position into several launchers, and optimises and
    translates each of them; a function that is told its position it translates once. Only the
    kernels that are launched are among them, since it translates all.
    """
    functions: dict[Kind, str] = {}
    texts, made, names = [], [], []
    whole, plain = kernels([launch for launch in launches if _stays(launch)])
    left = iter(plain)
    for launch in launches:
        if _stays(launch):
            names.append(next(left))
            continue
        kind = kind_of(launch.source, launch.defines)
        if kind not in functions:
            functions[kind] = f"f{len(functions)}_"
            texts.append(renamed(launch.source, launch.defines, functions[kind], ALONE))
        names.append(f"e{len(names)}_{launch.kernel}")
        parameters = ", ".join(f"{_type(a)} a{i}" for i, a in enumerate(launch.args))
        args = "".join(f", a{i}" for i in range(len(launch.args)))
        made.append(f"__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\n"
                    f"void {names[-1]}({parameters})\n"
                    f"{{ {functions[kind]}{launch.kernel}(get_global_id(0), get_global_id(1), "
                    f"get_global_id(2){args}); }}")
    return "\n".join([PLAIN, *texts, KERNELS, *made, whole]), names


def _stays(launch: Launch) -> bool:
    return launch.source in COPIED or set(launch.local_size) != {1}


def _type(arg: Any) -> str:
    if isinstance(arg, np.generic):
        return NUMBERS.get(arg.dtype.name, arg.dtype.name)
    return f"{'__local' if isinstance(arg, Local) else '__global'} void* restrict"


def _bare(macro: str) -> str:
    return macro.partition("(")[0]


@cache
def _names(pattern: re.Pattern[str], source: str) -> list[str]:
    return pattern.findall(f"{_file('common.h')}\n{_file(f'{source}.cl')}")


@cache
def _file(name: str) -> str:
    return (resources.files("app.engine") / "kernels" / name).read_text("utf-8")
