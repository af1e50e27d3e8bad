"""The two products of a gradient, rows times weights and slopes times rows, at the speed of memory.

They are loops in LLVM's language: Numba counts references to arrays about each call of a function of its own, which
costs more than a row of ten columns. Where rows are long, the products of four rows with the weights are taken while
the four before them are added to the gradient. Measured on a Zen 4: rows in order that nobody asked for come at half
the speed, as too few loads fit the processor's window; asked for four rows and 8 KB ahead, into the second cache, they
come nearly as fast as from there. Rows of float32 then wait for the processor: making eight numbers float64 takes as
long as four multiplications.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from gradstep._kernels.simd import FOUR, VECTOR, WIDTH, call, spread

_LINE = 64
_AHEAD = 8192  # bytes
_INTEGER = ir.IntType(32)
_BYTES = ir.IntType(8).as_pointer()
_SECOND_CACHE = 1


# Rows are X[at[new]] and the three behind it, or it alone; numbers[new] and so on are their products, numbers[new + 8]
# what they are added times. What is read and written in vectors is `aligned`: w, total. In plain Python, with the JIT
# off, they are NumPy's products, of one row after the other too.


def _plain(number: int, *, dots: bool, adds: bool) -> Any:
    def plain(X: Any, at: Any, new: int, old: int, w: Any, numbers: Any, total: Any, in_order: bool) -> None:  # noqa: ARG001
        d = X.shape[1]
        for n in range(number):
            if dots:
                numbers[new + n] = (X[at[new + n]] * w[:d]).sum()
            if adds:
                total[:d] += numbers[2 * FOUR + old + n] * X[at[old + n]]

    return plain


class _Rows:
    """Rows of a C-ordered array as LLVM sees them."""

    def __init__(self, context: Any, builder: Any, X: Any, array: Any, at: Any) -> None:
        self._builder, self.size = builder, X.dtype.bitwidth // 8
        self._kind = ir.VectorType(context.get_value_type(X.dtype), WIDTH)
        made = context.make_array(X)(context, builder, array)
        self._first = builder.bitcast(made.data, _BYTES)
        _, self.stride = cgutils.unpack_tuple(builder, made.strides)[::-1]
        _, self.columns = cgutils.unpack_tuple(builder, made.shape)
        self._at = at

    def row(self, i: Any) -> Any:
        """Return where row ``at[i]`` lies."""
        number = self._builder.load(self._builder.gep(self._at, [i]))
        return self._builder.gep(self._first, [self._builder.mul(number, self.stride)])

    def entries(self, row: Any, j: Any, mask: Any = None) -> Any:
        """Return eight entries from column j on."""
        builder = self._builder
        place = builder.gep(row, [builder.mul(j, ir.Constant(j.type, self.size))])
        place = builder.bitcast(place, self._kind.as_pointer())
        if mask is None:
            vector = builder.load(place, align=self.size)
        else:
            rest = [place, ir.Constant(_INTEGER, self.size), mask, _of(0.0, self._kind)]
            vector = call(builder, f"llvm.masked.load.v{WIDTH}f{8 * self.size}.p0", self._kind, rest)
        return vector if vector.type == VECTOR else builder.fpext(vector, VECTOR)


def _like(value: Any, number: int) -> Any:
    return ir.Constant(value.type, number)


def _of(number: float, kind: Any) -> Any:
    return ir.Constant(kind, [ir.Constant(kind.element, number)] * WIDTH)


def _first(builder: Any, count: Any) -> Any:
    """Return the mask of the first `count` of eight."""
    kind = ir.VectorType(_INTEGER, WIDTH)
    numbers = ir.Constant(kind, [ir.Constant(_INTEGER, number) for number in range(WIDTH)])
    return builder.icmp_signed("<", numbers, spread(builder, builder.trunc(count, _INTEGER)))


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return call(builder, f"llvm.fma.v{WIDTH}f64", VECTOR, [a, b, c])


def _vector(builder: Any, data: Any, j: Any) -> Any:
    return builder.bitcast(builder.gep(data, [j]), VECTOR.as_pointer())


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _loop(builder: Any, stop: Any, by: int, body: Callable[[Any, list[Any]], list[Any]], begin: list[Any]) -> list[Any]:
    """Go from 0 while below `stop`, which `by` divides, and return what the body makes of values turn by turn."""
    before = builder.block
    head, after = builder.append_basic_block("turn"), builder.append_basic_block("after")
    zero = ir.Constant(stop.type, 0)
    builder.cbranch(builder.icmp_signed(">", stop, zero), head, after)
    builder.position_at_end(head)
    j = builder.phi(stop.type)
    values = [builder.phi(value.type) for value in begin]
    new = body(j, values)
    following = builder.add(j, ir.Constant(stop.type, by), flags=["nsw", "nuw"])
    end = builder.block
    back = builder.cbranch(builder.icmp_signed("<", following, stop), head, after)
    back.set_metadata("llvm.loop", _as_it_stands(builder.module))
    for phi, first, then in zip([j, *values], [zero, *begin], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, end)
    builder.position_at_end(after)
    results = []
    for first, then in zip(begin, new, strict=True):
        result = builder.phi(first.type)
        result.add_incoming(first, before)
        result.add_incoming(then, end)
        results.append(result)
    return results


def _as_it_stands(module: Any) -> Any:
    """Return what keeps LLVM from unrolling a loop: four rows are enough, and eight times the code compiles long."""
    node = module.add_metadata([module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])])
    if len(node.operands) == 1:
        node.operands = (node, *node.operands)  # it names itself, as such nodes have to
    return node


def _whole(builder: Any, count: Any, of: int) -> Any:
    return builder.and_(count, ir.Constant(count.type, -of))


def _if(builder: Any, condition: Any, then: Callable[[], list[Any]], otherwise: list[Any]) -> list[Any]:
    """Return what `then` gives where the condition holds."""
    before = builder.block
    with builder.if_then(condition):
        new = then()
        end = builder.block
    results = []
    for value, old in zip(new, otherwise, strict=True):
        result = builder.phi(old.type)
        result.add_incoming(old, before)
        result.add_incoming(value, end)
        results.append(result)
    return results


def _sums(builder: Any, of: list[Any]) -> Any:
    """Return the sums of eight vectors: in halves, two vectors side by side, then four, then eight."""

    def mixed(x: Any, y: Any, numbers: list[int]) -> Any:
        kind = ir.VectorType(_INTEGER, WIDTH)
        return builder.shuffle_vector(x, y, ir.Constant(kind, [ir.Constant(_INTEGER, n) for n in numbers]))

    def added(x: Any, y: Any, firsts: list[int], seconds: list[int]) -> Any:
        return builder.fadd(mixed(x, y, firsts), mixed(x, y, seconds), flags=["nsz"])

    two = [
        added(of[i], of[j], [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
        for i, j in ((0, 2), (4, 6), (1, 3), (5, 7))
    ]
    four = [added(two[i], two[i + 1], [0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]) for i in (0, 2)]
    return added(four[0], four[1], [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15])


def _asked_for(builder: Any, rows: _Rows, number: int, first: Any, by: Any, j: Any) -> None:
    """Ask for what lies some way behind so many rows in order, of which eight columns are read."""
    form = ir.FunctionType(ir.VoidType(), [_BYTES, _INTEGER, _INTEGER, _INTEGER])
    fetch = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0")
    place = builder.gep(first, [builder.mul(j, by)])
    how = [ir.Constant(_INTEGER, number) for number in (0, _SECOND_CACHE, 1)]
    for byte in range(0, number * WIDTH * rows.size, _LINE):
        builder.call(fetch, [builder.gep(place, [ir.Constant(j.type, byte)]), *how])


def _reads(number: int, *, dots: bool, adds: bool) -> Any:
    """Return what takes the products of new rows with w, or adds old rows to total, or does both at once."""
    plain = _plain(number, dots=dots, adds=adds)

    # Numba's names for the plain function's type and code: an `overload` would count references about each call.
    @type_callable(plain)
    def typed(context: Any) -> Any:  # noqa: ARG001 - Numba's form
        return lambda X, at, new, old, w, numbers, total, in_order: types.none  # noqa: ARG005 - of all types

    @lower_builtin(plain, types.VarArg(types.Any))  # type: ignore[untyped-decorator]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        at, w, z, total = (_data(context, builder, kinds[i], arguments[i]) for i in (1, 4, 5, 6))
        r = builder.gep(z, [ir.Constant(_INTEGER, 2 * FOUR)])
        rows = _Rows(context, builder, kinds[0], arguments[0], at)
        news, olds = ([builder.add(i, ir.Constant(i.type, n)) for n in range(number)] for i in arguments[2:4])
        ahead, behind = [rows.row(n) for n in news if dots], [rows.row(n) for n in olds if adds]
        slopes = [spread(builder, builder.load(builder.gep(r, [n]))) for n in olds if adds]
        if dots:
            far = builder.add(builder.mul(rows.stride, _like(rows.stride, number)), _like(rows.stride, _AHEAD))
            far = builder.gep(ahead[0], [far])
            # Of rows in another order nothing is known: the same place, again and again, which costs nothing.
            by = builder.select(arguments[7], _like(rows.stride, number * rows.size), _like(rows.stride, 0))

        def turn(j: Any, sums: list[Any], mask: Any = None) -> list[Any]:
            if dots:
                _asked_for(builder, rows, number, far, by, j)
                weights = builder.load(_vector(builder, w, j), align=8)
                pairs = zip(ahead, sums, strict=True)
                sums = [_fused(builder, rows.entries(row, j, mask), weights, sum_) for row, sum_ in pairs]
            if adds:
                place = _vector(builder, total, j)
                so_far = builder.load(place, align=8)
                for row, slope in zip(behind, slopes, strict=True):
                    so_far = _fused(builder, rows.entries(row, j, mask), slope, so_far)
                builder.store(so_far, place, align=8)
            return sums

        last = _whole(builder, rows.columns, WIDTH)
        rest = builder.sub(rows.columns, last)
        zero = _of(0.0, VECTOR)
        sums = _loop(builder, last, WIDTH, turn, [zero] * len(ahead))
        some = builder.icmp_signed(">", rest, _like(rest, 0))
        sums = _if(builder, some, lambda: turn(last, sums, _first(builder, rest)), sums)
        if dots:
            every = _sums(builder, sums + [zero] * (WIDTH - number))
            for n, row in enumerate(news):
                entry = builder.extract_element(every, ir.Constant(_INTEGER, n))
                builder.store(entry, builder.gep(z, [row]))
        return context.get_dummy_value()

    return plain


add_four = _reads(FOUR, dots=False, adds=True)
both_of_four = _reads(FOUR, dots=True, adds=True)
dot_of_one = _reads(1, dots=True, adds=False)
add_one = _reads(1, dots=False, adds=True)
