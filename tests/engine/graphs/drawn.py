"""Small graphs of floats, made up at random: what passes, views and plans do with ops side by side.

Every op is well conditioned and continuous, so that a difference of roundings stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tests.engine.builder import ModelBuilder, Value
from tests.engine.graphs import moves, sums
from tests.engine.graphs.maker import Maker

Rule = Callable[[Maker, Value], None]
# How often beside the others, for values of which ranks; of any without.
RULES: Mapping[Rule, tuple[int, tuple[int, ...]]] = {
    sums.unary: (8, ()), sums.binary: (12, ()), sums.divided: (1, ()), sums.gate: (2, ()),
    sums.conv: (10, (4,)), sums.depthwise: (6, (4,)), sums.pool: (3, (4,)),
    sums.transpose_conv: (2, (4,)), sums.dense: (4, (2, 3, 4)), sums.matmul: (2, (2, 3, 4)),
    sums.softmax: (2, (2, 3, 4)), sums.normal: (1, (2, 3, 4)), sums.l2: (1, (2, 4)),
    sums.reduced: (3, (2, 3, 4)), sums.resized: (2, (4,)), sums.prelu: (2, (3, 4)),
    moves.joined: (5, ()), moves.split: (4, ()), moves.packed: (2, (1, 2, 3)),
    moves.unpacked: (2, (2, 3, 4)), moves.sliced: (4, (1, 2, 3, 4)),
    moves.padded: (4, (1, 2, 3, 4)), moves.blocks: (2, (4,)), moves.batches: (1, (4,)),
    moves.transposed: (3, (2, 3, 4)), moves.reshaped: (3, ()), moves.gathered: (2, ()),
    moves.chosen: (2, (1, 2, 3, 4)), moves.tiled: (1, (1, 2, 3, 4)),
    moves.scanned: (2, (1, 2, 3, 4)),
}


def random_graph(random: Random, most: int = 12, whole_kernels: bool = False) -> bytes:
    """Make a model of up to so many ops, or a few more.

    whole_kernels: only of ops that TFLite has kernels for integers of.
    """
    model = ModelBuilder()
    maker = Maker(random, model.graph(), whole_kernels=whole_kernels)
    for _ in range(random.choice((1, 1, 2))):
        rank = random.choice((4, 4, 4, 3, 2))
        shape = (random.choice((1, 1, 2)), *(random.randint(1, 8) for _ in range(rank - 1)))
        maker.values.append(maker.graph.input(shape))
    inputs = {v.index for v in maker.values}
    rules = list(RULES)
    shares = [often for often, _ in RULES.values()]
    wanted = len(maker.values) + random.randint(2, most)
    for _ in range(4 * most):
        (rule,) = random.choices(rules, shares)
        x = maker.pick(*RULES[rule][1])
        if x is not None:
            rule(maker, x)
        if len(maker.values) >= wanted:
            break
    made = [v for v in maker.values if v.index not in inputs]
    if not made:
        sums.unary(maker, maker.values[0])
        made = maker.values[-1:]
    last = [v for v in made if v.index not in maker.read]
    maker.graph.outputs(*last, *(v for v in made if v not in last and maker.chance(0.15)))
    return model.build()
