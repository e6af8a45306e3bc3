"""A small, safe language for what a screen derives, demands and ranks by.

``O2 / N2``, ``log10(CO2) + 2 * robeson("CO2/CH4")``, ``O2 >= 100``. The text is parsed with Python's grammar, checked
against a whitelist, and computed on NumPy columns by the walker below; nothing is ever executed as Python.

A name is a property, or a column derived before. A name that is not an identifier goes in backticks: `` `Tg (K)` ``.
Whatever has no value (a division by zero, the logarithm of a negative number) is NaN, and a comparison with NaN is
false.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from polyml.data.properties import SPREAD_SUFFIXES
from polyml.errors import UserError, did_you_mean
from polyml.screening import robeson

MAX_LENGTH = 1000
MAX_DEPTH = 100
Columns = Mapping[str, np.ndarray]


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _divide(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.divide(left, np.where(right == 0, np.nan, right))


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    undefined = (base == 0) & (exponent < 0)
    return np.power(np.where(undefined, np.nan, base), exponent)


_UNARY: dict[type[ast.unaryop], Callable[..., np.ndarray]] = {ast.USub: np.negative, ast.UAdd: np.positive}
_BINARY: dict[type[ast.operator], Callable[..., np.ndarray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _divide,
    ast.Pow: _power,
}
_COMPARE: dict[type[ast.cmpop], Callable[..., np.ndarray]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
# name -> (function, least number of arguments, greatest)
_FUNCTIONS: dict[str, tuple[Callable[..., np.ndarray], int, int]] = {
    "log10": (lambda x: np.log10(_positive(x)), 1, 1),
    "log": (lambda x: np.log(_positive(x)), 1, 1),
    "exp": (np.exp, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "abs": (np.abs, 1, 1),
    "min": (lambda *items: np.minimum.reduce(np.broadcast_arrays(*items)), 2, 20),
    "max": (lambda *items: np.maximum.reduce(np.broadcast_arrays(*items)), 2, 20),
}
FUNCTION_NAMES = frozenset({*_FUNCTIONS, "robeson"})


@dataclass(frozen=True)
class Expression:
    """A checked expression, ready to be computed.

    Attributes
    ----------
    text : str
        As written.
    names : frozenset of str
        Columns it reads.
    pairs : tuple of str
        Gas pairs it measures the distance to the Robeson bound of.
    is_condition : bool
        Whether it is a comparison (gives booleans) or a number.
    """

    text: str
    names: frozenset[str]
    pairs: tuple[str, ...]
    is_condition: bool
    _tree: ast.expr = field(repr=False, compare=False)
    _names: Mapping[int, str] = field(repr=False, compare=False)  # offset in the tree -> column

    def evaluate(self, columns: Columns) -> np.ndarray:
        """Compute from columns of equal length ``(n,)``: float64, or bool for a comparison.

        Columns of other shapes are broadcast: from ``(n, draws)`` and ``(n, 1)`` comes ``(n, draws)``.

        Examples
        --------
        >>> ratio = parse_expression("O2 / N2", ["O2", "N2"])
        >>> ratio.evaluate({"O2": np.array([6.0, 1.0]), "N2": np.array([2.0, 0.0])}).tolist()
        [3.0, nan]
        >>> ratio.evaluate({"O2": np.array([[6.0, 1.0], [3.0, 2.0]]), "N2": np.array([[2.0], [1.0]])}).tolist()
        [[3.0, 0.5], [3.0, 2.0]]
        """
        shape = np.broadcast_shapes(*map(np.shape, columns.values())) if columns else (1,)
        with np.errstate(all="ignore"):
            result = self._value(self._tree, columns)
        return np.array(np.broadcast_to(result, shape))

    def _value(self, node: ast.expr, columns: Columns) -> np.ndarray:
        match node:
            case ast.Constant(value=number):
                return np.float64(number)  # type: ignore[arg-type, return-value]
            case ast.Name():
                return np.asarray(columns[self._names[node.col_offset]], dtype=float)
            case ast.UnaryOp(op=sign, operand=operand):
                return _UNARY[type(sign)](self._value(operand, columns))
            case ast.BinOp(left=left, op=operator, right=right):
                return _BINARY[type(operator)](self._value(left, columns), self._value(right, columns))
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [self._value(side, columns) for side in (left, *others)]
                parts = [_COMPARE[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False)]
                return np.logical_and.reduce(np.broadcast_arrays(*parts))
            case ast.Call(func=ast.Name(id="robeson"), args=[ast.Constant(value=str(pair))]):
                bound = robeson.upper_bound(pair)
                return robeson.distance(pair, columns[bound.fast], columns[bound.slow])
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return _FUNCTIONS[function][0](*(self._value(item, columns) for item in arguments))
        raise TypeError(f"unchecked node {type(node).__name__}")  # the checker lets nothing else through


def parse_expression(text: str, names: Collection[str], *, where: str | None = None) -> Expression:
    """Parse and check an expression.

    Parameters
    ----------
    text : str
        The expression; see the module for the language.
    names : collection of str
        The columns it may read.
    where : str, optional
        Where it stands (a recipe key), for the message.

    Raises
    ------
    UserError
        With the expression, a caret under the fault, and the nearest name when one is unknown.

    Examples
    --------
    >>> parse_expression("O2 >= 100", ["O2"]).is_condition
    True
    >>> print(parse_expression("O2 / N", ["O2", "N2"]))
    Traceback (most recent call last):
    ...
    polyml.errors.UserError: unknown name 'N'
        O2 / N
             ^
      → did you mean 'N2'? known: N2, O2
    """
    checker = _Checker(" ".join(text.splitlines()).strip(), names, where)
    tree = checker.parse()
    checker.check(tree)
    return Expression(
        text=checker.text,
        names=frozenset({*checker.used.values(), *checker.gases}),
        pairs=tuple(dict.fromkeys(checker.pairs)),
        is_condition=isinstance(tree, ast.Compare),
        _tree=tree,
        _names=checker.used,
    )


class _Checker:
    """Turns text into a tree of whitelisted nodes, or says what is wrong and where."""

    def __init__(self, text: str, names: Collection[str], where: str | None) -> None:
        self.text, self.known, self.where = text, sorted(names), where
        self.source = text  # the text with every name in backticks masked
        self.quoted: dict[int, str] = {}  # character -> name in backticks
        self.used: dict[int, str] = {}  # offset in the tree -> name
        self.gases: list[str] = []
        self.pairs: list[str] = []

    def fail(self, what: str, column: int, fix: str | None = None) -> UserError:
        column = max(0, min(column, len(self.text)))
        # A window around the fault, so that a long expression does not bury the caret.
        start = max(0, column - 60)
        window = self.text[start : start + 100]
        return UserError(f"{what}\n    {window}\n    {' ' * (column - start)}^", where=self.where, fix=fix)

    def parse(self) -> ast.expr:
        if not self.text:
            raise UserError("the expression is empty", where=self.where, fix="write one such as O2 / N2")
        if len(self.text) > MAX_LENGTH:
            raise self.fail(
                f"the expression is longer than {MAX_LENGTH} characters", MAX_LENGTH, "split it with 'derive'"
            )
        self.source = self._mask_quoted()
        try:
            with warnings.catch_warnings():  # a SyntaxWarning (a bad escape, say) leads to an error below anyway
                warnings.simplefilter("ignore")
                return ast.parse(self.source, mode="eval").body
        except SyntaxError as error:
            self._guess_slip()
            column = error.offset - 1 if error.offset else len(self.text)  # no offset: the text ends too early
            raise self.fail(f"cannot read the expression: {error.msg}", column, _LANGUAGE) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise self.fail(f"cannot read the expression: {error}", 0, _LANGUAGE) from None

    def _guess_slip(self) -> None:
        """Tell the slips that Python's own words do not help with."""
        if re.search(r"=[<>]|(?<![<>=!])=(?!=)", self.source):
            column = self.source.index("=")
            raise self.fail("'=' is no comparison here", column, "write <=, >=, < or >")
        word = self.source.split(maxsplit=1)[0] if self.source.strip() else ""
        if word.lower().startswith(("max", "min")) and " " in self.source.strip():
            meant = "minimize" if word.lower().startswith("min") else "maximize"
            fix = f"write '{meant} {self.source.split(maxsplit=1)[1]}'"
            raise self.fail(f"'{word}' is no direction", 0, fix)

    def _mask_quoted(self) -> str:
        """Put an identifier of equal width in the place of each name in backticks, so that columns stay true."""

        def stand_in(match: re.Match[str]) -> str:
            self.quoted[match.start()] = match.group(1)
            return "_" * len(match.group(0))

        beside = re.search(r"[\w`]`[^`]+`|`[^`]+`[\w`]", self.text)
        if beside is not None:
            raise self.fail("a name in backticks touches another name", beside.start(), "put an operator between them")
        source = re.sub(r"`([^`]+)`", stand_in, self.text)
        if "`" in source:
            raise self.fail("a backtick is not closed, or quotes nothing", source.index("`"), "write `name`")
        return source

    def check(self, tree: ast.expr) -> None:
        if isinstance(tree, ast.Compare):
            for operator in tree.ops:
                if type(operator) not in _COMPARE:
                    raise self.fail("this comparison is not in the language", self._column(tree), "use <, <=, > or >=")
            for side in (tree.left, *tree.comparators):
                self._check_number(side, 1)
        else:
            self._check_number(tree, 1)

    def _check_number(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH} levels", self._column(node), "split it with 'derive'")
        for child in self._children(node):
            self._check_number(child, depth + 1)

    def _children(self, node: ast.expr) -> Iterator[ast.expr]:
        """Check one node, and yield the nodes below it."""
        match node:
            case ast.Constant(value=bool() | complex()):
                raise self.fail("only plain numbers are allowed", self._column(node))
            case ast.Constant(value=int() | float() as number):
                self._check_constant(node, number)
            case ast.Constant(value=str()):
                raise self.fail('text is only allowed in robeson("O2/N2")', self._column(node))
            case ast.Name():
                self._check_name(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                yield node.operand
            case ast.BinOp() if type(node.op) in _BINARY:
                yield from (node.left, node.right)
            case ast.Call():
                yield from self._check_call(node)
            case ast.Compare():
                raise self.fail("a comparison cannot stand inside a number", self._column(node), _LANGUAGE)
            case ast.BoolOp():
                raise self.fail("'and' and 'or' are not in the language", self._column(node), "write two constraints")
            case _:
                raise self.fail("this is not in the language", self._column(node), _LANGUAGE)

    def _check_constant(self, node: ast.Constant, number: float) -> None:
        try:
            float(number)
        except OverflowError:
            raise self.fail("the number is too large", self._column(node)) from None

    def _check_name(self, node: ast.Name) -> None:
        # The text, not node.id: Python folds look-alike letters in identifiers (NFKC), a column name keeps them.
        start = self._column(node)
        name = self.quoted.get(start) or self.text[start : self._character(node.end_col_offset or 0)]
        if name in self.known:
            self.used[node.col_offset] = name
            return
        if name in FUNCTION_NAMES:
            raise self.fail(f"'{name}' is a function and needs arguments", self._column(node), f"write {name}(...)")
        raise self.fail(f"unknown name '{name}'", self._column(node), _nearest(name, self.known))

    def _check_call(self, node: ast.Call) -> list[ast.expr]:
        column = self._column(node)
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        if function not in FUNCTION_NAMES:
            shown = function or self.text[column : column + 20]
            raise self.fail(f"unknown function '{shown}'", column, _nearest(function, FUNCTION_NAMES))
        if node.keywords or any(isinstance(item, ast.Starred) for item in node.args):
            raise self.fail(f"{function} takes plain arguments only", column)
        if function == "robeson":
            self._check_robeson(node)
            return []
        _, least, most = _FUNCTIONS[function]
        if not least <= len(node.args) <= most:
            count = str(least) if least == most else f"{least} to {most}"
            raise self.fail(f"{function} takes {count} argument(s), not {len(node.args)}", column)
        return node.args

    def _check_robeson(self, node: ast.Call) -> None:
        column = self._column(node)
        pairs = ", ".join(robeson.UPPER_BOUNDS)
        match node.args:
            case [ast.Constant(value=str(pair))]:
                pass
            case _:
                raise self.fail(
                    'robeson takes one gas pair in quotes, as in robeson("O2/N2")', column, f"pairs: {pairs}"
                )
        if pair.replace(" ", "") not in robeson.UPPER_BOUNDS:
            inside = self._column(node.args[0])
            raise self.fail(f"no Robeson bound of 2008 for '{pair}'", inside, _nearest(pair, robeson.UPPER_BOUNDS))
        bound = robeson.upper_bound(pair)
        for gas in (bound.fast, bound.slow):
            if gas not in self.known:
                what = f"robeson('{pair}') needs the permeability '{gas}' in Barrer"
                raise self.fail(what, column, f"known: {', '.join(self.known)}")
            self.gases.append(gas)
        self.pairs.append(bound.pair)

    def _column(self, node: ast.expr) -> int:
        return self._character(node.col_offset)

    def _character(self, offset: int) -> int:
        """Turn an offset in the tree, which counts bytes of UTF-8, into a character index."""
        return len(self.source.encode()[:offset].decode(errors="ignore"))


_LANGUAGE = (
    "the language: numbers, property names (in backticks if they are not identifiers), + - * / **, "
    'log10 log exp sqrt abs min max, robeson("O2/N2"), and < <= > >= in constraints'
)


def _nearest(name: str, known: Collection[str]) -> str:
    spread = {
        item for item in known if any(item.removesuffix(end) in known for end in SPREAD_SUFFIXES if item.endswith(end))
    }
    plain = ", ".join(sorted(set(known) - spread))
    return f"{did_you_mean(name, known)}known: {plain}{'; NAME_std, NAME_lower, NAME_upper' if spread else ''}"
