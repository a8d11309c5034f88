"""Programs in which uses of one tile want it on different lanes always compile, and compute what they mean."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings

from bitwright.tests.backend.lower.random_tiles import tangles
from bitwright.tests.backend.lower.three_ways import Case, agree

quick = settings(
    max_examples=int(os.environ.get("N", "60")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
slow = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(tangles())
def test_tangled_layouts_are_untangled(case: Case) -> None:
    agree(case)


@slow
@given(tangles())
def test_native_code_agrees(case: Case) -> None:
    agree(case, machine=True)
