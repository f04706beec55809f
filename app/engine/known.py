"""Refuse a model at load if it has operations that nobody knows, or has lost its weights."""

from __future__ import annotations

import importlib
from functools import cache

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from app.engine import registry
from app.engine.cpu.interpreter import MODULES, installed
from app.engine.cpu.part import open_part
from app.engine.ir import Graph, Model, Node
from app.engine.passes import bodies, flex, lists, stablehlo, volumes
from app.engine.passes.variables import never_assigned
from app.errors import InvalidModel, UnsupportedOp

CUSTOM = "CUSTOM:"
# What passes make of other operations, which have kernels.
TAKEN_APART = {*bodies.NAMES, *flex.NAMES, *lists.NAMES, *volumes.NAMES, *stablehlo.RULES}
# A runtime may have dropped the oldest version of an operation.
VERSIONS = (1, 2, 3)
# What a runtime says of an operation that is younger than itself, or that it left out.
ABSENT = ("Didn't find op", "out of range")
UNRESOLVED = ("unresolved custom op", "Didn't find op", "not supported by this interpreter")


def refuse_unknown(model: Model) -> None:
    """Look at every node of every subgraph.

    Raises: UnsupportedOp with all the names, and what they are where that is known; InvalidModel
            if it reads variables that nothing gives a value.
    """
    unknown = dict.fromkeys(_label(n.op) for g in model.graphs for n in g.nodes
                            if not _known(g, n))
    if unknown:
        raise UnsupportedOp(
            f"the model has {len(unknown)} operation(s) that neither the card nor the CPU can "
            f"run: {', '.join(unknown)}. Convert it without custom operations and without "
            "Select TF ops, or leave that part out of the model")
    empty = never_assigned(dict(enumerate(model.graphs)))
    if empty:
        raise InvalidModel(
            f"the model reads {len(empty)} variable(s) that nothing in the file gives a value: "
            f"{', '.join(empty)}. The converter left out their values; give it the whole model "
            "(from_keras_model, from_saved_model), or freeze the variables")


def _label(name: str) -> str:
    custom = name.removeprefix(CUSTOM)
    if custom.startswith("Flex"):
        return f"{custom} (a TensorFlow op; it needs the Flex delegate)"
    return f"{custom} (a custom op)" if name.startswith(CUSTOM) else name


def _known(graph: Graph, node: Node) -> bool:
    tables = (registry.OPS, registry.HOSTS, registry.STATEFUL, registry.VIEWS)
    if node.op in TAKEN_APART or any(node.op in table for table in tables):
        return True
    if node.op.startswith(CUSTOM):
        return _custom_known(graph, node)
    return _builtin_known(node.op)


def _custom_known(graph: Graph, node: Node) -> bool:
    try:
        open_part(graph, [node], set(node.outputs))
    except UnsupportedOp as error:
        return not any(text in str(error) for text in UNRESOLVED)
    return True


@cache
def _builtin_known(name: str) -> bool:
    code = (int(name.removeprefix("BUILTIN:")) if name.startswith("BUILTIN:")
            else getattr(schema.BuiltinOperator, name, -1))
    if code < 0:
        return False
    return any(_takes(module, code, version) for module in MODULES for version in VERSIONS)


def _takes(module: str, code: int, version: int) -> bool:
    if not installed(module):
        return False
    try:
        importlib.import_module(module).Interpreter(model_content=_lone(code, version),
                                                    num_threads=1)
    except (ValueError, RuntimeError) as error:
        # Complaints about missing options prove that the runtime knows the operation.
        return not any(text in str(error) for text in ABSENT)
    return True


def _lone(code: int, version: int) -> bytes:
    operator = schema.OperatorT(opcodeIndex=0, inputs=[], outputs=[])
    graph = schema.SubGraphT(name="lone", tensors=[], inputs=[], outputs=[], operators=[operator])
    kind = schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code,
                               version=version)
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], subgraphs=[graph],
                          operatorCodes=[kind])
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
