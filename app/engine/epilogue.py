"""Elementwise steps that a kernel applies to a value before storing it, as OpenCL text.

A kernel that calls EPILOGUE has `VT v` (the value), `int idx` (its index in the output) and
`int c` (its channel), and defines E_SAME(p) and E_CHAN(p), which load the operand's values that
belong to v. Comparisons are written so that NaN passes through, as TFLite's do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.engine.ir import Arg, Const, Fused, Tensor

_CLAMP = " v = v < {lo} ? {lo} : v; v = v > {hi} ? {hi} : v;"
# To the nearest of the whole numbers from lo to hi, the even one of two. Within the bounds that may
# be an addition (common.h); the comparisons keep it from being joined with the product before.
_WHOLE = _CLAMP + " v = NEAREST(v);"

# TensorFlow's own functions of one number, which converters leave in files as custom operations.
FLEX = {f"CUSTOM:Flex{name}": f"v = {text};" for name, text in {
    "Acos": "acos(v)", "Acosh": "acosh(v)", "Asin": "asin(v)", "Asinh": "asinh(v)",
    "Atan": "atan(v)", "Atanh": "atanh(v)", "Cosh": "cosh(v)", "Erf": "ERF(v)",
    "Erfc": "erfc(v)", "Expm1": "expm1(v)", "Log1p": "log1p(v)", "Reciprocal": "1.0f / v",
    "Sinh": "sinh(v)", "Softplus": "fmax(v, 0.0f) + log1p(exp(-fabs(v)))",
    "Softsign": "v / (1.0f + fabs(v))", "Tan": "tan(v)"}.items()}
# {o} is the operand, {name} an option. v and {o} are VT: a float vector or a float.
STEPS = {
    **FLEX,
    "RELU": "v = v < 0.0f ? (VT)(0.0f) : v;",
    "RELU6": "v = v < 0.0f ? (VT)(0.0f) : v; v = v > 6.0f ? (VT)(6.0f) : v;",
    "RELU_N1_TO_1": "v = v < -1.0f ? (VT)(-1.0f) : v; v = v > 1.0f ? (VT)(1.0f) : v;",
    "RELU_0_TO_1": "v = v < 0.0f ? (VT)(0.0f) : v; v = v > 1.0f ? (VT)(1.0f) : v;",
    "LEAKY_RELU": "v = v < 0.0f ? v * {alpha} : v;",
    "PRELU": "v = v < 0.0f ? v * {o} : v;",
    "ELU": "v = v < 0.0f ? expm1(v) : v;",
    "HARD_SWISH": "{{ VT h = v + 3.0f; h = h < 0.0f ? (VT)(0.0f) : h;"
                  " h = h > 6.0f ? (VT)(6.0f) : h; v = v * h * 0.16666667f; }}",
    "LOGISTIC": "v = 1.0f / (1.0f + exp(-v));",
    "TANH": "v = tanh(v);",
    "EXP": "v = exp(v);",
    "LOG": "v = log(v);",
    "SQRT": "v = sqrt(v);",
    "RSQRT": "v = 1.0f / sqrt(v);",
    "SIN": "v = sin(v);",
    "COS": "v = cos(v);",
    "ABS": "v = fabs(v);",
    "NEG": "v = -v;",
    "FLOOR": "v = floor(v);",
    "CEIL": "v = ceil(v);",
    "ROUND": "v = rint(v);",
    "SQUARE": "v = v * v;",
    "SIGN": "v = sign(v);",
    "GELU": "v = 0.5f * v * (1.0f + ERF(v * 0.70710678f));",
    # 0.5 * (1 + tanh(u)) is 1 / (1 + exp(-2u)), which is exactly 0 far below, as no driver's tanh.
    "GELU_TANH": "v = v / (1.0f + exp(-1.5957691f * (v + 0.044715f * v * v * v)));",
    "ADD": "v = v + {o};",
    "SUB": "v = v - {o};",
    "SUB_SWAPPED": "v = {o} - v;",
    "MUL": "v = v * {o};",
    "DIV": "v = v / {o};",
    "DIV_SWAPPED": "v = {o} / v;",
    # The right one where one of them is NaN, as both of TFLite's kernels have it.
    "MAXIMUM": "{{ VT o = {o}; v = v > o ? v : o; }}",
    "MAXIMUM_SWAPPED": "{{ VT o = {o}; v = o > v ? o : v; }}",
    "MINIMUM": "{{ VT o = {o}; v = v < o ? v : o; }}",
    "MINIMUM_SWAPPED": "{{ VT o = {o}; v = o < v ? o : v; }}",
    "POW": "v = pow(v, {o});",
    "POW_SWAPPED": "v = pow({o}, v);",
    "SQUARED_DIFFERENCE": "{{ VT o = v - {o}; v = o * o; }}",
    "FLOOR_DIV": "v = floor(v / {o});",
    "FLOOR_DIV_SWAPPED": "v = floor({o} / v);",
    # What passes.quantize makes of integer arithmetic; {s}, {t}, {lo}, {hi} are kernel arguments.
    "SCALE": "v = v * {s};",
    "REQUANT": "v = v * {s};" + _WHOLE,
    # XNNPACK rounds a leaky slope this way, TFLite's own kernels round products twice.
    "LEAKY_REQUANT": "v = floor(v * (v < 0.0f ? {t} : {s}) + 0.5f);" + _CLAMP,
    "REQUANT_TWICE": "v = rint(v * {s}) * {t};" + _CLAMP + " v = AWAY(v);",
    # Halves away from the file's zero, which is {t} below: as TFLite's means of windows.
    "REQUANT_AWAY": "v = AWAY(v * {s} + {t}) - {t};" + _CLAMP,
    "REQUANT_CHANNELS": "v = v * {o};" + _WHOLE,
    # {t} is the second scale by the first, so that what cancels out does so however large {s} is.
    "ADD_REQUANT": "v = (v + {o} * {t}) * {s};" + _WHOLE,
    "ADD_REQUANT_SWAPPED": "v = ({o} + v * {t}) * {s};" + _WHOLE,
    "MUL_REQUANT": "v = v * {o} * {s};" + _WHOLE,
    # Of a whole number from {lo} on, see passes.lookups; {o} points to the table.
    "LOOKUP": "v = looked_up({o}, v - {lo});",
    # What passes.gates makes of a value that is joined with a function of itself.
    "OPEN": "{{ VT kept = v;",
    "CLOSE": "}}",
}
ORDERED = {"SUB", "DIV", "POW", "FLOOR_DIV", "ADD_REQUANT", "MAXIMUM", "MINIMUM"}
BINARY = ORDERED | {"ADD", "MUL", "SQUARED_DIFFERENCE", "PRELU",
                    "REQUANT_CHANNELS", "MUL_REQUANT"}
# Steps that no file names: passes.quantize makes them.
INTERNAL = {"SCALE", "REQUANT", "LEAKY_REQUANT", "REQUANT_TWICE", "REQUANT_AWAY",
            "REQUANT_CHANNELS", "ADD_REQUANT", "MUL_REQUANT", "LOOKUP"}
# A step that reads a table, and how many numbers that has.
LOOKUP, SIZE = "LOOKUP", 256
# A node of several steps, and those that only stand among others: see passes.gates.
GATE, MARKS = "GATE", {"OPEN", "CLOSE"}
NUMBERS = ("s", "t", "lo", "hi")


def relation(operand: Tensor, output: Tensor) -> str | None:
    """How an operand lies over an output.

    "scalar", "same", "channel" (one value per channel), "padded" (its channels are the output's
    first, the others are zero: passes.fuse leaves a PAD out) or None (another way).
    """
    if operand.size == 1:
        return "scalar"
    if operand.shape == output.shape or (operand.size == output.size and _tails_match(
            operand.shape, output.shape)):
        return "same"
    if output.shape and operand.size == output.shape[-1] == operand.shape[-1]:
        return "channel"
    if output.shape and operand.shape[:-1] == output.shape[:-1] and (
            1 < operand.shape[-1] < output.shape[-1]):
        return "padded"
    return None


def _tails_match(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    strip = [tuple(e for e in s if e != 1) for s in (a, b)]
    return strip[0] == strip[1]


def compile_steps(steps: Sequence[Fused], output: Tensor,
                  prefix: str = "e") -> tuple[dict[str, str | int], list[Arg]]:
    """Turn steps into the defines EPI_PARAMS and EPILOGUE and the arguments they add.

    prefix begins the arguments' names: a kernel with two lists of steps needs two.
    Raises: KeyError if a step is not in STEPS (the fuse pass lets none through).
    """
    params: list[str] = []
    lines: list[str] = []
    args: list[Arg] = []
    for step in steps:
        value = "kept" if step.kept else ""
        if step.kind == LOOKUP and step.operand is not None:
            value = f"{prefix}o{len(args)}"
            params.append(f", {TYPES[0]} {value}")
            args.append(Const(step.operand, "flat", np.ravel))
        elif step.operand is not None:
            value, more = _operand(step.operand, output, f"{prefix}o", len(args))
            params += [f", {t} {prefix}o{len(args) + i}" for i, t in enumerate(TYPES[:len(more)])]
            args += more
        text, names, values = step_text(step, value, len(args), prefix)
        params += names
        args += values
        lines.append(text)
    return {"EPI_PARAMS": "".join(params), "EPILOGUE": " ".join(lines)}, args


def step_text(step: Fused, operand: str, position: int,
              prefix: str = "e") -> tuple[str, list[str], list[Arg]]:
    """One step as OpenCL text, and the parameters and arguments of its numbers.

    Numbers that differ from layer to layer are arguments, so that layers share a program.
    """
    kind = step.kind + ("_SWAPPED" if step.swapped and step.kind in ORDERED else "")
    if kind == "GELU" and step.options.get("approximate"):
        kind = "GELU_TANH"
    used = [n for n in NUMBERS if f"{{{n}}}" in STEPS[kind]]
    names = {n: f"((VT)({prefix}{n}{position}))" for n in used}
    text = STEPS[kind].format(o=operand, alpha=_alpha(step.options), **names)
    return (text, [f", float {prefix}{n}{position}" for n in used],
            [np.float32(step.options[n]) for n in used])


TYPES = ("__global const float* restrict", "int", "int")
# The ways in which an operand may lie in memory as halves.
LOADS = r"\bE_(?=(?:SAME|CHAN|PADDED)\({name}\b)"


def operands_of(defines: Mapping[str, str | int], count: int) -> dict[int, str]:
    """Of a launch of count arguments, those that are operands which may be halves, by name.

    The arguments of steps are a launch's last ones.
    """
    texts = [str(defines.get(key, "")) for key in ("INNER_PARAMS", "EPI_PARAMS")]
    params = "".join(texts).split(", ")[1:]
    steps = " ".join(str(defines.get(key, "")) for key in ("INNER", "EPILOGUE"))
    found = {}
    for position, param in enumerate(params, count - len(params)):
        kind, _, name = param.rpartition(" ")
        if kind == TYPES[0] and re.search(LOADS.format(name=name), steps):
            found[position] = name
    return found


def halved_operands(defines: Mapping[str, str | int],
                    names: Sequence[str]) -> dict[str, str | int]:
    """The defines of a launch whose operands of those names are halves."""
    changed = dict(defines)
    for name in names:
        for key in ("INNER", "EPILOGUE", "INNER_PARAMS", "EPI_PARAMS"):
            if key in changed:
                text = re.sub(LOADS.format(name=name), "E_HALF_", str(changed[key]))
                changed[key] = text.replace(f"{TYPES[0]} {name}",
                                            f"{TYPES[0].replace('float', 'half')} {name}")
    return changed


def uses_channel(steps: Sequence[Fused], output: Tensor) -> bool:
    """Whether a step needs the channel index, so that a vector must not cross rows."""
    return any(s.operand is not None and relation(s.operand, output) in ("channel", "padded")
               for s in steps)


def _alpha(options: Any) -> str:
    return literal(float(options.get("alpha", 0.0)))


def literal(value: float) -> str:
    """A float as OpenCL text, exactly."""
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({float(np.float32(value)).hex()}f)"


def _operand(operand: Tensor, output: Tensor, name: str,
             position: int) -> tuple[str, list[Arg]]:
    kind = relation(operand, output)
    if kind == "scalar" and operand.data is not None:
        return f"((VT){literal(float(operand.data.reshape(-1)[0]))})", []
    arg: Arg = operand if operand.data is None else Const(operand, "flat", np.ravel)
    if kind == "scalar":
        return f"((VT)({name}{position}[0]))", [arg]
    if kind == "padded":
        extents = [np.int32(operand.shape[-1]), np.int32(output.shape[-1])]
        names = ", ".join(f"{name}{position + i}" for i in range(3))
        return f"E_PADDED({names})", [arg, *extents]
    return (f"E_SAME({name}{position})" if kind == "same" else f"E_CHAN({name}{position})"), [arg]
