"""`bitwright quantize`: a weight matrix from a file into any format, and how much is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .errors import CliError, show

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..tensor import QTensor


def quantize_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A .npy, .safetensors or .gguf file.")],
    to: Annotated[list[str], typer.Option("--to", metavar="TYPE", help="u3, f4e2m1, nf4, mxfp4 ...; may be repeated.")],
    tensor: Annotated[str | None, typer.Option("--tensor", help="Which tensor of the file.")] = None,
    group: Annotated[str, typer.Option("--group", help="Weights that share a scale: a number, or row.")] = "auto",
    scale: Annotated[str, typer.Option("--scale", help="Type of the scales: f16, bf16, f32, e8m0 ...")] = "auto",
    zero_point: Annotated[
        bool | None, typer.Option("--zero-point/--no-zero-point", help="Default: for unsigned integers only.")
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Search each scale for the least error; slower.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help="A .safetensors file.")] = None,
) -> None:
    """Quantise a matrix [N, K], whose rows are output features, and say how much is lost.

    With several --to, the formats are compared; -o saves the result of a single one.

    Example: `bitwright quantize model.safetensors --tensor layers.0.up.weight --to u3 --group 128 -o up.safetensors`
    """
    from ..quantize import quantize
    from .weights import read_weights

    if output is not None and len(to) > 1:
        raise CliError("-o saves one tensor: give a single --to with it")
    if output is not None and output.suffix != ".safetensors":
        raise CliError(f"-o {output}: the result is a safetensors file; let its name end in .safetensors")
    length = _group(group)
    w = read_weights(source, tensor)
    made = [quantize(w, kind, length, zero_point, scale, search="mse" if search else None) for kind in to]
    if output is not None:
        made[0].save(output)
    show(f"{source}{'' if tensor is None else f', {tensor}'}: {w.shape[0]} x {w.shape[1]}")
    _report(w, made)
    if output is not None:
        show(f"saved to {output}")


def _group(text: str) -> int | Literal["auto"] | None:
    if text == "row":
        return None
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise CliError(f"--group {text}: give the number of weights that share a scale, such as 128, or row")
    return int(text)


def _report(w: npt.NDArray[np.floating], made: list[QTensor]) -> None:
    """One line per format: size, relative error |W - W'| / |W|, largest error, and signal-to-noise ratio in dB."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    table = Table("format", box=None, pad_edge=False)
    for title in ("bits/weight", "bytes", "relative error", "largest error", "SNR dB"):
        table.add_column(title, justify="right")
    exact = w.astype(np.float64)
    whole = float(np.linalg.norm(exact))
    for q in made:
        wrong = q.dequantize(np.float64) - exact
        lost = float(np.linalg.norm(wrong))
        relative = lost / whole if whole else lost
        snr = f"{-20 * np.log10(relative):.2f}" if relative else "exact"
        largest = float(np.abs(wrong).max())
        table.add_row(
            str(q.format), f"{q.bits_per_weight:.3f}", f"{q.nbytes:,}", f"{relative:.3e}", f"{largest:.3e}", snr
        )
    Console(highlight=False, markup=False, width=110).print(table)
