"""The mistakes that `make mutants` makes: our domain's own as operators of cosmic-ray, and those of its that fit here.

What goes wrong in a kernel path is seldom a sign: a step is forgotten, two are in the wrong order, a lock is not taken.
"""

from __future__ import annotations

import itertools

from cosmic_ray import plugins
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword

CORE = (
    "AddNot",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ZeroIterationForLoop",
)
"""Of cosmic-ray's own: one replacement for each operator.  Its others (`==` to each of `<`, `is`, ...) differ less."""


def leaves(node):
    """Every word of a piece of text."""
    children = getattr(node, "children", None)
    return [node] if children is None else [leaf for child in children for leaf in leaves(child)]


def awaits(node):
    return any(leaf.type == "keyword" and leaf.value == "await" for leaf in leaves(node))


class LeaveOutStep(Operator):
    """`await page.lock.release()` is forgotten."""

    def mutation_positions(self, node):
        if node.type == "atom_expr" and awaits(node.children[0]) and node.parent.type == "simple_stmt":
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        return Keyword("pass", node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls):
        return (Example("async def f():\n    await a.inc()\n", "async def f():\n    pass\n"),)


class LeaveOutLock(Operator):
    """`async with mm.page_table_lock:` is forgotten; what it guards runs all the same."""

    def mutation_positions(self, node):
        if node.type == "async_stmt" and node.children[1].type == "with_stmt":
            with_stmt = node.children[1]
            if not any(child.type == "with_item" for child in with_stmt.children):  # `as` gives a name a value
                yield node.start_pos, with_stmt.children[-3].end_pos

    def mutate(self, node, index):
        word, with_stmt = node.children
        *_, colon, suite = with_stmt.children
        condition = Keyword("True", with_stmt.start_pos, " ")
        with_stmt.children = [condition, colon, suite]
        node.children = [Keyword("if", word.start_pos, word.prefix), with_stmt]
        return node

    @classmethod
    def examples(cls):
        return (
            Example("async def f():\n    async with a:\n        g()\n", "async def f():\n    if True:\n        g()\n"),
        )


class SwapSteps(Operator):
    """Two steps that follow one another change places, unless the second needs what the first one found."""

    def mutation_positions(self, node):
        for first, second in self._pairs(node):
            yield first.start_pos, second.end_pos

    def mutate(self, node, index):
        first, second = next(itertools.islice(self._pairs(node), index, None))
        at = node.children.index(first)
        node.children[at : at + 2] = [second, first]
        above, between = first.get_first_leaf(), second.get_first_leaf()
        above.prefix, between.prefix = between.prefix, above.prefix  # comments stay where they are
        return node

    @staticmethod
    def _pairs(node):
        if node.type != "suite":
            return
        for first, second in itertools.pairwise(node.children):
            if all(
                each.type == "simple_stmt" and each.children[0].type in {"atom_expr", "expr_stmt"} and awaits(each)
                for each in (first, second)
            ):
                statement = first.children[0]
                stored = statement.get_defined_names() if statement.type == "expr_stmt" else ()
                if not {name.value for name in stored} & {leaf.value for leaf in leaves(second)}:
                    yield first, second

    @classmethod
    def examples(cls):
        before = "async def f():\n    await a.inc()\n    await b.inc()\n"
        return (Example(before, "async def f():\n    await b.inc()\n    await a.inc()\n"),)


class NegateMembership(Operator):
    """`in` becomes `not in`, and the other way round."""

    def mutation_positions(self, node):
        for operator in self._operators(node):
            yield operator.start_pos, operator.end_pos

    def mutate(self, node, index):
        operator = next(itertools.islice(self._operators(node), index, None))
        becomes = "in" if operator.type == "comp_op" else "not in"
        at = node.children.index(operator)
        node.children[at] = Keyword(becomes, operator.start_pos, operator.get_first_leaf().prefix)
        return node

    @staticmethod
    def _operators(node):
        if node.type == "comparison":
            for operator in node.children[1::2]:
                if [leaf.value for leaf in leaves(operator)] in (["in"], ["not", "in"]):
                    yield operator

    @classmethod
    def examples(cls):
        return Example("a in b", "a not in b"), Example("a not in b", "a in b")


STEPS = {f"mm/{each.__name__}" for each in (LeaveOutLock, LeaveOutStep, SwapSteps)}
"""The mistakes that no general tool makes: `make mutants ARGS=--steps`."""


def offer():
    """Have cosmic-ray make these mistakes and no others."""
    core = plugins.OPERATOR_PROVIDERS["core"]
    plugins.OPERATOR_PROVIDERS.clear()  # init() would look for each of its 210 operators everywhere
    plugins.OPERATOR_PROVIDERS["core"] = {name: core[name] for name in CORE}
    ours = (LeaveOutLock, LeaveOutStep, NegateMembership, SwapSteps)
    plugins.OPERATOR_PROVIDERS["mm"] = {each.__name__: each for each in ours}
