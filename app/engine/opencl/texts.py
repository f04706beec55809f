"""The texts of programs: kernel files with their defines, several in one where need be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

# A kernel file and its defines.
Kind = tuple[str, frozenset[tuple[str, str | int]]]
MACRO = re.compile(r"^\s*#\s*define\s+(\w+)", re.MULTILINE)
OWN = re.compile(r"^(?:(?:static )?inline \w+ (?=\w+\()|typedef .* (?=\w+;))(\w+)", re.MULTILINE)
ENTRY = re.compile(r"^(?:__kernel .*)?void (\w+)\(", re.MULTILINE)


def kind_of(source: str, defines: Mapping[str, str | int]) -> Kind:
    """What tells programs apart."""
    return source, frozenset(defines.items())


def assemble(source: str, defines: Mapping[str, str | int]) -> str:
    """The full text of a program: defines, the common header, the kernel file."""
    lines = [f"#define {name} {value}" for name, value in sorted(defines.items())]
    return "\n".join([*lines, _file("common.h"), _file(f"{source}.cl")])


def renamed(source: str, defines: Mapping[str, str | int], prefix: str,
            parameters: str = "") -> str:
    """The same with a prefix before every name of its own, which it takes back at the end: such
    texts may follow each other in one program.

    parameters: what its kernels get before their own ones; they are plain functions then.
    """
    text = assemble(source, defines)
    lines = ["#define __kernel static"] if parameters else []
    lines += [f"#define {name}(...) {prefix}{name}({parameters}, __VA_ARGS__)" if parameters else
              f"#define {name} {prefix}{name}" for name in _names(ENTRY, source)]
    lines += [f"#define {name} {prefix}{name}" for name in _names(OWN, source)]
    names = dict.fromkeys([*MACRO.findall("\n".join(lines)), *map(_bare, defines),
                           *_names(MACRO, source)])
    return "\n".join([*lines, text, *(f"#undef {name}" for name in names)])


def _bare(macro: str) -> str:
    return macro.partition("(")[0]


@cache
def _names(pattern: re.Pattern[str], source: str) -> list[str]:
    return pattern.findall(f"{_file('common.h')}\n{_file(f'{source}.cl')}")


@cache
def _file(name: str) -> str:
    return (resources.files("app.engine") / "kernels" / name).read_text("utf-8")
