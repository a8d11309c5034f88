"""The compiler's own text that a code generator does not accept."""

from __future__ import annotations

__all__ = ["BuildError"]


class BuildError(RuntimeError):
    """Text that LLVM or NVRTC does not accept, or code that does not load: our mistake, not the user's."""
