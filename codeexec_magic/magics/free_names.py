"""The names that a cell uses and does not make itself."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def free_names(code: str) -> list[str]:
    """Names that must exist before the code runs, in the order of their first use.

    A name that the code binds on every way to its use is not among them. What a function uses is looked up when the
    function is called, so a name that the code binds anywhere serves it.

    Args:
        code: Python.

    Raises:
        SyntaxError: it is none.
    """
    walker = _Walker()
    walker.block(ast.parse(code).body)
    late = [name for name in walker.late if name not in walker.bound_anywhere]
    return list(dict.fromkeys([*walker.free, *late]))


class _Walker(ast.NodeVisitor):
    """Goes through the code in the order in which it runs."""

    def __init__(self) -> None:
        self.free: list[str] = []
        self.late: list[str] = []  #: used by functions
        self.bound: set[str] = set()
        self.bound_anywhere: set[str] = set()

    def block(self, statements: Iterable[ast.AST]) -> None:
        """Statements one after the other."""
        for statement in statements:
            self.visit(statement)

    def _bind(self, name: str) -> None:
        self.bound.add(name)
        self.bound_anywhere.add(name)

    def _perhaps(self, *blocks: Iterable[ast.AST]) -> None:
        """Blocks of which any may not run: what all of them bind is bound after them."""
        before, after = set(self.bound), []
        for block in blocks:
            self.bound = set(before)
            self.block(block)
            after.append(self.bound)
        self.bound = set.intersection(*after)

    def visit_Name(self, node: ast.Name) -> None:
        """A use or a binding."""
        if isinstance(node.ctx, ast.Load):
            if node.id not in self.bound:
                self.free.append(node.id)
        else:
            if isinstance(node.ctx, ast.Del) and node.id not in self.bound:
                self.free.append(node.id)
            self._bind(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        """The value comes before the targets."""
        self.block([node.value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The same, with an annotation."""
        self.block([part for part in (node.annotation, node.value) if part is not None])
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """The target is used, too."""
        if isinstance(node.target, ast.Name) and node.target.id not in self.bound:
            self.free.append(node.target.id)
        self.block([node.value, node.target])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        """The loop may not run at all."""
        self.visit(node.iter)
        self._perhaps([node.target, *node.body], [])
        self.block(node.orelse)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        """The loop may not run at all."""
        self.visit(node.test)
        self._perhaps(node.body, [])
        self.block(node.orelse)

    def visit_If(self, node: ast.If) -> None:
        """One of two."""
        self.visit(node.test)
        self._perhaps(node.body, node.orelse)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        """The body may stop anywhere."""
        self._perhaps([*node.body, *node.orelse], *([handler] for handler in node.handlers))
        self.block(node.finalbody)

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """Its name is bound inside."""
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self._bind(node.name)
        self.block(node.body)

    def visit_Match(self, node: ast.Match) -> None:
        """One case, or none."""
        self.visit(node.subject)
        self._perhaps(*([case.pattern, *([case.guard] if case.guard else []), *case.body] for case in node.cases), [])

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        """A pattern that binds a name."""
        self.generic_visit(node)
        if node.name:
            self._bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        """The rest of a sequence."""
        if node.name:
            self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        """The rest of a mapping."""
        self.generic_visit(node)
        if node.rest:
            self._bind(node.rest)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Binds what it imports."""
        for alias in node.names:
            self._bind(alias.asname or alias.name.partition(".")[0])

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Decorators and defaults are used now, the body later."""
        self.block(node.decorator_list)
        self._arguments(node)
        self._bind(node.name)
        self._body(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """The same without a name."""
        self._arguments(node)
        self._body(node, [node.body])

    def _arguments(self, node: _Scope) -> None:
        self.block([default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None])
        if not isinstance(node, ast.Lambda):
            arguments = _all_arguments(node)
            notes = [*(argument.annotation for argument in arguments), node.returns]
            self.block([note for note in notes if note is not None])

    def _body(self, node: _Scope, body: Sequence[ast.AST]) -> None:
        inner = _Walker()
        shared = {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}
        local = {argument.arg for argument in _all_arguments(node)} | (_bound_in(body) - shared)
        inner.bound = set(local)
        inner.block(body)
        for name in (*inner.free, *inner.late):
            if name not in local:
                self.late.append(name)
        self.bound_anywhere |= shared & inner.bound_anywhere

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Its body runs at once, in names of its own."""
        self.block([*node.decorator_list, *node.bases, *node.keywords])
        outer, everywhere = set(self.bound), set(self.bound_anywhere)
        self.block(node.body)
        self.bound, self.bound_anywhere = outer, everywhere
        self._bind(node.name)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        outer, everywhere = set(self.bound), set(self.bound_anywhere)
        for generator in node.generators:
            self.block([generator.iter, generator.target, *generator.ifs])
        self.block([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.bound, self.bound_anywhere = outer, everywhere
        for one in ast.walk(node):
            if isinstance(one, ast.NamedExpr):
                self._bind(one.target.id)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """The value comes before the name."""
        self.block([node.value, node.target])


def _all_arguments(node: _Scope) -> list[ast.arg]:
    given = node.args
    rest = [one for one in (given.vararg, given.kwarg) if one is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def _bound_in(body: Iterable[ast.AST]) -> set[str]:
    """Names that a function's own code binds anywhere."""
    walker = _Walker()
    walker.block(body)
    return walker.bound_anywhere
