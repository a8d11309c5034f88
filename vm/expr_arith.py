"""Folding of +, -, * and of // and % by way of linear sums.

A sum is held as {term: coefficient} and a constant; a term is anything that is not itself a sum, a constant, or a
multiple. Two expressions that are equal as linear sums of the same terms become equal trees. Each rule states the
identity that it uses; all of them hold in the integers, with // and % rounding down.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

from . import bounds
from .expr_nodes import INT64_MAX, INT64_MIN, Binary, Const, Expr, ExprError, order

Terms: TypeAlias = dict[Expr, int]


def collect(e: Expr, factor: int = 1) -> tuple[Terms, int]:
    """e * factor as a linear sum: the terms with their coefficients (none is 0), and the constant."""
    terms: Terms = {}
    constant = 0
    pending = [(e, factor)]
    while pending:
        node, k = pending.pop()
        match node:
            case Const(value):
                constant += k * value
            case Binary("add", x, y):
                pending += [(y, k), (x, k)]
            case Binary("sub", x, y):
                pending += [(y, -k), (x, k)]
            case Binary("mul", x, Const(value)) | Binary("mul", Const(value), x):
                pending.append((x, k * value))
            case _:
                terms[node] = terms.get(node, 0) + k
    return {t: k for t, k in terms.items() if k}, constant


def plus(terms: Mapping[Expr, int], more: Mapping[Expr, int], factor: int = 1) -> Terms:
    """terms + factor * more."""
    result = dict(terms)
    for t, k in more.items():
        result[t] = result.get(t, 0) + factor * k
        if not result[t]:
            del result[t]
    return result


def sum_facts(terms: Mapping[Expr, int], constant: int) -> bounds.Facts:
    """What is known of a linear sum."""
    facts = bounds.exactly(constant)
    for t, k in terms.items():
        facts = bounds.add(facts, bounds.scale(t.facts, k))
    return facts


def _times(term: Expr, k: int) -> Expr:
    return term if k == 1 else Binary("mul", term, Const(k))


def _assemble(terms: Terms, constant: int) -> Expr:
    """The tree of a sum: terms with positive coefficients, then the others, then the constant."""
    ordered = sorted(terms.items(), key=lambda item: order(item[0]))
    positive = [(t, k) for t, k in ordered if k > 0]
    negative = [(t, k) for t, k in ordered if k < 0]
    if positive:
        e = _times(*positive[0])
        for t, k in positive[1:]:
            e = Binary("add", e, _times(t, k))
    elif constant or not negative or negative[0][1] == -1:
        e, constant = Const(constant), 0
    else:
        e, negative = _times(*negative[0]), negative[1:]
    for t, k in negative:  # -2**63 has no positive counterpart
        e = Binary("add", e, _times(t, k)) if k == INT64_MIN else Binary("sub", e, _times(t, -k))
    if constant:
        return Binary("sub", e, Const(-constant)) if INT64_MIN < constant < 0 else Binary("add", e, Const(constant))
    return e


def total(terms: Terms, constant: int) -> Expr:
    """The folded expression of a linear sum."""
    terms, constant = merged(terms, constant)
    exact = sum_facts(terms, constant).exact
    return _assemble(terms, constant) if exact is None else Const(exact)


def merged(terms: Terms, constant: int) -> tuple[Terms, int]:
    """The same sum with quotients and remainders of one division put together."""
    changed = True
    while changed:
        changed = False
        for t, k in terms.items():
            c = _divisor(t)
            better = _merge_division(terms, t, k, c) if c and isinstance(t, Binary) else None
            if better is not None:
                terms, constant, changed = better[0], constant + better[1], True
                break
    return terms, constant


def _divisor(t: Expr) -> int:
    """The c of y // c or y % c, when it is a positive constant; else 0."""
    match t:
        case Binary("floordiv" | "mod", _, Const(c)) if c > 0:
            return c
        case _:
            return 0


def difference_facts(terms: Terms, constant: int, effort: int = 2) -> bounds.Facts:
    """What is known of a merged sum, also where a minimum, maximum or quotient stands beside its own operands.

    min(a, b) is at most a and at most b, so putting a or b in its place bounds the sum from one side; y % d is at most
    d - 1, for d > 0; y // c * c is y - y % c. `effort` is how many terms are so replaced, one inside the other.
    """
    facts = sum_facts(terms, constant)
    for t, k in terms.items() if effort and len(terms) > 1 else ():
        match t:
            case Binary("min" | "max" as kind, x, y):
                for limit in (x, y):
                    facts = _limited(facts, terms, constant, t, limit, (kind == "min") == (k > 0), effort)
            case Binary("mod", _, d) if not isinstance(d, Const) and d.facts.low is not None and d.facts.low > 0:
                facts = _limited(facts, terms, constant, t, add(d, Const(-1)), k > 0, effort)
            case Binary("floordiv", y, Const(c)) if c > 0 and k % c == 0 and not collect(y)[0].keys().isdisjoint(terms):
                bound = _opened(terms, constant, t, c, effort)
                facts = bounds.meet(facts, bound.low, bound.high)
            case _:
                pass
    return facts


def _limited(
    facts: bounds.Facts, terms: Terms, constant: int, t: Expr, limit: Expr, upper: bool, effort: int
) -> bounds.Facts:
    """The facts of the sum, knowing also that it is at most (`upper`) or at least the sum with t made `limit`."""
    more, extra = collect(limit, terms[t])
    rest, rest_constant = merged(plus(plus(terms, {t: -terms[t]}), more), constant + extra)
    bound = difference_facts(rest, rest_constant, effort - 1)
    return bounds.meet(facts, None, bound.high) if upper else bounds.meet(facts, bound.low, None)


def _opened(terms: Terms, constant: int, t: Binary, c: int, effort: int) -> bounds.Facts:
    """The facts of the sum with k * (y // c) written as k/c * y - k/c * (y % c)."""
    k = terms[t]
    y_terms, y_constant = collect(t.x, k // c)
    m_terms, m_constant = collect(mod(t.x, Const(c)), -(k // c))
    rest = plus(plus(plus(terms, {t: -k}), y_terms), m_terms)
    return difference_facts(*merged(rest, constant + y_constant + m_constant), effort - 1)


def _merge_division(terms: Terms, t: Binary, k: int, c: int) -> tuple[Terms, int] | None:
    """Rewrite the term k * t, t = y // c or y % c, by c * (y // c) + y % c = y, where that makes the sum smaller."""
    if t.kind == "floordiv":
        common = math.gcd(k, c)
        if common > 1 and _divides(c, t.x.facts):  # k * (y // c) = k/g * (y // (c/g)) when c divides y
            more, constant = collect(floordiv(t.x, Const(c // common)), k // common)
            return plus(plus(terms, {t: -k}), more), constant
        y_terms, y_constant = collect(t.x)
        if k % c == 0 and _holds(terms, y_terms, -(k // c)):
            more, constant = collect(mod(t.x, Const(c)), -(k // c))
            return plus(plus(plus(terms, {t: -k}), y_terms, k // c), more), constant + k // c * y_constant
        return None
    if len(terms) == 1:
        return None
    y_terms, y_constant = collect(t.x)
    q_terms, q_constant = collect(floordiv(t.x, Const(c)))
    if len(q_terms) == 1 and (_holds(terms, q_terms, k * c) or _holds(terms, y_terms, -k)):
        rest = plus(plus(terms, {t: -k}), y_terms, k)
        return plus(rest, q_terms, -k * c), k * y_constant - k * c * q_constant
    return None


def _divides(c: int, facts: bounds.Facts) -> bool:
    return facts.multiple % c == 0 and facts.residue % c == 0


def _holds(terms: Terms, part: Terms, factor: int) -> bool:
    """True when the sum contains factor * part."""
    return bool(part) and all(terms.get(t) == factor * k for t, k in part.items())


def add(x: Expr, y: Expr, factor: int = 1) -> Expr:
    """x + factor * y."""
    (xt, xc), (yt, yc) = collect(x), collect(y, factor)
    return total(plus(xt, yt), xc + yc)


def scaled(x: Expr, factor: int) -> Expr:
    """x * factor."""
    terms, constant = collect(x, factor)
    return total(terms, constant)


def _factors(e: Expr) -> list[Expr]:
    found: list[Expr] = []
    pending = [e]
    while pending:
        node = pending.pop()
        if isinstance(node, Binary) and node.kind == "mul":
            pending += [node.y, node.x]
        else:
            found.append(node)
    return found


def _product(factors: list[Expr]) -> Expr:
    """The tree of a product of expressions, sorted; 1 when there are none."""
    ordered = sorted(factors, key=order)
    e = ordered[0] if ordered else Const(1)
    for f in ordered[1:]:
        e = Binary("mul", e, f)
    return e


def mul(x: Expr, y: Expr) -> Expr:
    """x * y: a constant goes into the sum, other products are sorted with their coefficients pulled out."""
    if isinstance(y, Const):
        return scaled(x, y.value)
    if isinstance(x, Const):
        return scaled(y, x.value)
    coefficient = 1
    factors: list[Expr] = []
    for e in (x, y):
        terms, constant = collect(e)
        if len(terms) == 1 and not constant:
            ((term, k),) = terms.items()
            coefficient *= k
            factors += _factors(term)
        else:
            factors.append(e)
    return total({_product(factors): coefficient}, 0)


def floordiv(x: Expr, y: Expr) -> Expr:
    """x // y, rounding down."""
    if y.facts.exact == 0:
        raise ExprError(f"division by zero: ({x}) // ({y})")
    if isinstance(y, Const) and y.value != INT64_MIN:
        return _floordiv_const(x, y.value) if y.value > 0 else _floordiv_const(scaled(x, -1), -y.value)
    quotient, whole, rest, constant = _split_by(x, y)
    if _between(rest, constant, y):  # 0 <= r < y: (q * y + r) // y = q
        return total(quotient, whole)
    node = Binary("floordiv", total(rest, constant), y)
    exact = node.facts.exact
    return total(plus(quotient, {node: 1}), whole) if exact is None else total(quotient, whole + exact)


def mod(x: Expr, y: Expr) -> Expr:
    """x % y, which has the sign of y."""
    if y.facts.exact == 0:
        raise ExprError(f"division by zero: ({x}) % ({y})")
    if isinstance(y, Const) and y.value != INT64_MIN:
        return _mod_const(x, y.value) if y.value > 0 else scaled(_mod_const(scaled(x, -1), -y.value), -1)
    _, _, rest, constant = _split_by(x, y)
    if _between(rest, constant, y):
        return total(rest, constant)
    node = Binary("mod", total(rest, constant), y)
    return node if node.facts.exact is None else Const(node.facts.exact)


def _split_by(x: Expr, y: Expr) -> tuple[Terms, int, Terms, int]:
    """x = (quotient + whole) * y + rest + constant, by taking y out of those products that have it as a factor."""
    if x == y:
        return {}, 1, {}, 0
    terms, constant = collect(x)
    quotient: Terms = {}
    whole = 0
    rest: Terms = {}
    for t, k in terms.items():
        factors = _factors(t)
        if y in factors:
            factors.remove(y)
            more, extra = collect(_product(factors), k)
            quotient, whole = plus(quotient, more), whole + extra
        else:
            rest[t] = k
    return quotient, whole, rest, constant


def _between(terms: Terms, constant: int, y: Expr) -> bool:
    """True when 0 <= terms + constant < y always."""
    low = sum_facts(terms, constant).low
    y_terms, y_constant = collect(y)
    over = sum_facts(plus(terms, y_terms, -1), constant - y_constant).high
    return low is not None and low >= 0 and over is not None and over < 0


def _quotient(facts: bounds.Facts, c: int) -> int | None:
    """The value of v // c when it is the same for all v."""
    if facts.low is None or facts.high is None or facts.low // c != facts.high // c:
        return None
    return facts.low // c


def _reduce(terms: Terms, c: int) -> tuple[Terms, Terms]:
    """terms = c * quotient + rest, coefficient by coefficient, each keeping its sign."""
    quotient: Terms = {}
    rest: Terms = {}
    for t, k in terms.items():
        q = abs(k) // c * (1 if k > 0 else -1)
        if q:
            quotient[t] = q
        if k != q * c:
            rest[t] = k - q * c
    return quotient, rest


def _floordiv_const(x: Expr, c: int) -> Expr:
    """x // c for c > 0: (c * q + r) // c = q + r // c."""
    if c == 1:
        return x
    terms, constant = collect(x)
    quotient, rest = _reduce(terms, c)
    q, r = divmod(constant, c)
    small = _quotient(sum_facts(rest, r), c)
    if small is not None:
        return total(quotient, q + small)
    even = {t: k for t, k in rest.items() if k * t.facts.multiple % c == 0}
    residue = sum(k * t.facts.residue for t, k in even.items()) % c
    if even and (r or len(even) < len(rest)):  # (e + o) // c = e // c + (e % c + o) // c, where e % c is known
        small = _quotient(sum_facts({t: k for t, k in rest.items() if t not in even}, residue + r), c)
        if small is not None:
            more, extra = collect(_floordiv_const(total(even, 0), c))
            return total(plus(quotient, more), q + small + extra)
    common = math.gcd(c, *rest.values())
    if common > 1:  # (g * a + r) // (g * b) = (a + r // g) // b
        c, r, rest = c // common, r // common, {t: k // common for t, k in rest.items()}
        more, extra = collect(_floordiv_const(total(rest, r), c))
    else:
        more, extra = collect(_divide_whole(total(rest, r), c))
    return total(plus(quotient, more), q + extra)


def _divide_whole(x: Expr, c: int) -> Expr:
    """x // c where no part of the sum x can be divided alone."""
    match x:
        case Binary("floordiv", y, Const(b)) if 0 < b * c <= INT64_MAX and b > 0:  # (y // b) // c = y // (b * c)
            return _floordiv_const(y, b * c)
        case Binary("mod", y, Const(b)) if b > 0 and b % c == 0:  # (y % (c * n)) // c = (y // c) % n
            return _mod_const(_floordiv_const(y, c), b // c)
        case _:
            return Binary("floordiv", x, Const(c))


def _mod_const(x: Expr, c: int) -> Expr:
    """x % c for c > 0: every multiple of c can be taken away."""
    if c == 1:
        return Const(0)
    terms, constant = collect(x)
    for t, k in list(terms.items()):
        if k * t.facts.multiple % c == 0:  # the residue of this term is known
            constant += k * t.facts.residue
            del terms[t]
    _, rest = _reduce(terms, c)
    r = constant % c
    small = _quotient(sum_facts(rest, r), c)
    if small is not None:
        return total(rest, r - small * c)
    for t, k in rest.items():
        match t:
            case Binary("mod", y, Const(b)) if b > 0 and k * b % c == 0:  # k * (y % b) = k * y modulo c
                y_terms, y_constant = collect(y, k)
                return _mod_const(total(plus(plus(rest, {t: -k}), y_terms), r + y_constant), c)
    common = math.gcd(c, *rest.values())
    if common > 1:  # (g * a + r) % (g * b) = g * ((a + r // g) % b) + r % g
        inner = total({t: k // common for t, k in rest.items()}, r // common)
        more, extra = collect(_mod_const(inner, c // common), common)
        return total(more, extra + r % common)
    return Binary("mod", total(rest, r), Const(c))
