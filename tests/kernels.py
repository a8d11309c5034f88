"""Programs of the language and the interpreter's refusals, for tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitwright.frontend.build import ParameterValue, build
from bitwright.frontend.parse import parse
from bitwright.vm.interpret import InterpretError
from bitwright.vm.ir import Program


def program(text: str, **parameters: ParameterValue) -> Program:
    """The tile program of a kernel's text."""
    return build(parse(text).kernels[0], parameters)


def refused(run: Callable[[], object], *texts: str) -> InterpretError:
    """The interpreter's error, which says each of these texts."""
    with pytest.raises(InterpretError) as caught:
        run()
    for text in texts:
        assert text in str(caught.value)
    return caught.value
