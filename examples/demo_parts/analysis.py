"""What is found out about source files: names, functions, comments, imports."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .sources import SourceFile

FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)
PART_OF_BODY = (ast.stmt, ast.excepthandler, ast.match_case)
# Other errors are not the file's, and must not be taken for it.
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError)


@dataclass(frozen=True, order=True)
class Function:
    """A function, and how many lines it takes from `def` to its end."""

    lines: int
    name: str
    place: str


@dataclass
class Report:
    """What is known about some files; reports can be added up."""

    files: int = 0
    lines: int = 0
    comment_lines: int = 0
    names: Counter[str] = field(default_factory=Counter)
    functions: list[Function] = field(default_factory=list)
    imports: dict[str, set[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Take in what another report says."""
        self.files += other.files
        self.lines += other.lines
        self.comment_lines += other.comment_lines
        self.names.update(other.names)
        self.functions += other.functions
        for module, imported in other.imports.items():
            self.imports.setdefault(module, set()).update(imported)
        self.failures.update(other.failures)


def report_on(files: Iterable[SourceFile]) -> Report:
    """Analyse files. Those that are unreadable or no valid Python are named in `failures`."""
    total = Report()
    for file in files:
        try:
            total.add(_report_on_text(file, _read(file.path)))
        except OSError as error:
            total.failures[file.shown] = error.strerror or str(error)
        except BROKEN as error:
            total.failures[file.shown] = _reason(error)
    return total


def _read(path: str) -> str:
    with tokenize.open(path) as file:  # in the encoding that the file declares
        return file.read()


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {error.msg}"
    return str(error) or type(error).__name__


def _report_on_text(file: SourceFile, text: str) -> Report:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the style of other people's files
        tree = ast.parse(text)
    report = Report(files=1, lines=text.count("\n"))
    report.names, report.comment_lines = _names_and_comments(text)
    report.functions = list(_functions(file, tree))
    report.imports[file.module] = _imported(file, tree)
    return report


def _names_and_comments(text: str) -> tuple[Counter[str], int]:
    """Count each name as it stands in the text, keywords left out; and the comments."""
    kinds: dict[int, list[str]] = {tokenize.NAME: [], tokenize.COMMENT: []}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            kinds[token.type].append(token.string)
    names = Counter(kinds[tokenize.NAME])
    for word in keyword.kwlist:
        del names[word]
    return names, len(kinds[tokenize.COMMENT])


def _functions(file: SourceFile, tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(lines, node.name, f"{file.shown}:{node.lineno}")


def _imported(file: SourceFile, tree: ast.Module) -> set[str]:
    """Name everything that may be a module and is imported when this file is."""
    names: set[str] = set()
    for node in _statements_of_an_import(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(file, node)
            names.add(origin)
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return names


def _statements_of_an_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk through what runs, or may run, when the module is imported."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, FunctionNode) and not _is_for_others(node):
            children = ast.iter_child_nodes(node)
            waiting.extend(child for child in children if isinstance(child, PART_OF_BODY))


def _is_for_others(node: ast.AST) -> bool:
    """Whether it is an `if` for scripts or type checkers: `__name__ == ...`, `TYPE_CHECKING`."""
    return isinstance(node, ast.If) and any(
        getattr(part, "id", getattr(part, "attr", "")) in ("__name__", "TYPE_CHECKING")
        for part in ast.walk(node.test)
    )


def _origin(file: SourceFile, node: ast.ImportFrom) -> str:
    """Return the full name of the module that a `from ... import` names."""
    if not node.level:
        return node.module or ""
    package = file.module.split(".")
    above = node.level - file.is_package
    parts = package[: len(package) - above] if above else package
    return ".".join([*parts, *([node.module] if node.module else [])])
