"""`-p NAME=VALUE`: compile-time parameters on the command line, and which kernel takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ..build import ParameterValue
from ..syntax import Kernel, Name, Subscript, walk
from .errors import CliError

_WORDS = {"true": True, "false": False}


def split_pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping; CliError for a text of another form and for a name given twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier() or not value.strip():
            raise CliError(f"{option} {text}: write {option} NAME=VALUE")
        if name in pairs:
            raise CliError(f"{option} {name} is given twice")
        pairs[name] = value.strip()
    return pairs


def parameters_for(kernel: Kernel, given: Mapping[str, str]) -> dict[str, ParameterValue]:
    """The values for one kernel, each read as the kind of parameter that the kernel declares; sizes are integers."""
    kinds = {p.name: p.annotation.name for p in kernel.compile_params if isinstance(p.annotation, Name)}
    return {name: _value(name, text, kinds.get(name, "int")) for name, text in given.items()}


def takes(kernel: Kernel) -> set[str]:
    """The names that a kernel takes at compile time: its parameters after `*`, and the symbols of its shapes."""
    symbols = (
        node.name
        for param in kernel.params
        for part in walk(param.annotation)
        if isinstance(part, Subscript)
        for index in part.indices
        for node in walk(index)
        if isinstance(node, Name)
    )
    return {param.name for param in kernel.compile_params} | set(symbols)


def required(kernel: Kernel) -> list[str]:
    """The compile-time parameters that have no default."""
    return [param.name for param in kernel.compile_params if param.default is None]


def choose_kernel(kernels: tuple[Kernel, ...], name: str | None, file: str) -> Kernel:
    """The kernel of that name, or the only one; CliError lists the names there are."""
    names = [kernel.name for kernel in kernels]
    if not kernels:
        raise CliError(f"{file} holds no kernel")
    if name is None:
        if len(kernels) == 1:
            return kernels[0]
        raise CliError(f"{file} holds {len(kernels)} kernels: choose one with --kernel, of {', '.join(names)}")
    if name in names:
        return kernels[names.index(name)]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    raise CliError(f"{file} has no kernel {name!r}; {hint}")


def _value(name: str, text: str, kind: str) -> ParameterValue:
    try:
        if kind == "int":
            return int(text, 0)
        if kind == "float":
            return float(text)
    except ValueError as error:
        raise CliError(f"-p {name}={text}: {name} is {'an integer' if kind == 'int' else 'a number'}") from error
    if kind == "bool":
        if text.lower() not in _WORDS:
            raise CliError(f"-p {name}={text}: {name} is a bool; write {name}=true or {name}=false")
        return _WORDS[text.lower()]
    return text
