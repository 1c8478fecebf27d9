"""``coprop checkpoint``: which model a weights file belongs to, and the same weights as safetensors."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from .terminal import say

if TYPE_CHECKING:
    from torch import Tensor

    from ..weights.variants import Fit

HELP = "Say which published model a weights file fits, or write its weights as safetensors (nothing in it is run)."
EXAMPLES = (
    "  coprop checkpoint inspect AVSegFormer_pvt2_ms3.pth\n"
    "  coprop checkpoint inspect unknown.pth --json\n"
    "  coprop checkpoint convert AVSegFormer_pvt2_ms3.pth avsegformer.safetensors"
)
NUM_SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("inspect", "convert"), help="what to do with the file")
    parser.add_argument("file", help="a .pth of torch.save, or safetensors")
    parser.add_argument("output", nargs="?", help="convert: the .safetensors file to write")
    parser.add_argument(
        "--trust-pickle", action="store_true", help="read a file that could run code (only one that you made)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from ..weights.checkpoint import read_state_dict

    state = read_state_dict(args.file, trust_pickle=args.trust_pickle)
    if args.action == "convert":
        return convert(state, args.output, as_json=args.json)
    findings = inspect(state)
    findings = {"file": str(args.file), **findings}
    say(json.dumps(findings, indent=2) if args.json else as_text(findings))
    return 0 if findings["fits"] else 1


def convert(state: Mapping[str, Tensor], output: str | None, *, as_json: bool = False) -> int:
    """Write a state dict as safetensors; names and values stay as they are.

    Raises:
        CheckpointError: no output, or one that is not called ``.safetensors``.
    """
    from safetensors.torch import save

    from ..files import atomic_write

    if output is None or Path(output).suffix != ".safetensors":
        raise CheckpointError(f"convert needs an output called NAME.safetensors, got '{output}'.")
    with atomic_write(Path(output)) as file:
        file.write(save(dict(state), metadata={"format": "pt"}))
    say(json.dumps({"file": output, "entries": len(state)}) if as_json else f"{output}: {len(state)} entries")
    return 0


def inspect(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a state dict fits exactly; where it fits nothing, what keeps it from the nearest model.

    ``mmseg`` tells that the names are those of an mmsegmentation model; only its config says which one.
    """
    from ..weights import catalogue

    known = catalogue.catalogue()
    likely = [variant for variant in known if variant.is_marked(state) or not variant.marks]  # a mark is in every file
    fits = [variant.fit(state) for variant in likely]
    exact = [fit for fit in fits if fit.exact]
    if not exact:
        fits += [variant.fit(state) for variant in known if variant not in likely]
    nearest = min(fits, key=lambda fit: (-fit.shared, fit.distance))
    return {
        "entries": len(state),
        "numbers": sum(value.numel() for value in state.values()),
        "fits": [{"part": f.variant.part, "variant": f.variant.name, "unused_entries": f.ignored} for f in exact],
        "nearest": None if exact or not nearest.shared else difference(nearest),
        "mmseg": not exact and any(name.startswith("decode_head.") for name in state),
    }


def difference(fit: Fit) -> dict[str, Any]:
    """What a file lacks, has too much, or has in another shape, compared with one variant."""
    return {
        "part": fit.variant.part,
        "variant": fit.variant.name,
        "shared": fit.shared,
        "missing": list(fit.missing),
        "left_over": list(fit.left_over),
        "reshaped": list(fit.reshaped),
    }


def as_text(findings: Mapping[str, Any]) -> str:
    lines = [f"{findings['file']}: {findings['entries']} entries, {findings['numbers'] / 1e6:.1f} M numbers"]
    for fit in findings["fits"]:
        unused = f" ({fit['unused_entries']} entries that it never uses)" if fit["unused_entries"] else ""
        lines.append(f"  fits {fit['part']}, variant {fit['variant']}{unused}")
    if len(findings["fits"]) > 1:
        one_part = len({fit["part"] for fit in findings["fits"]}) == 1
        how = "variant=NAME" if one_part else "each is a part of its own"
        lines.append(f"  these share one layout, and the file does not say which it is: choose by name ({how})")
    if findings["mmseg"]:
        lines.append("  has the names of an mmsegmentation model: the adapter mmseg runs it with its config file")
    elif nearest := findings["nearest"]:
        lines.append(f"  fits nothing; nearest is {nearest['part']}, variant {nearest['variant']}:")
        lines.append(f"    {nearest['shared']} entries in common")
        for key, words in (("missing", "missing"), ("left_over", "left over"), ("reshaped", "of another shape")):
            names = nearest[key]
            if names:
                more = f" and {len(names) - NUM_SHOWN} more" if len(names) > NUM_SHOWN else ""
                lines.append(f"    {len(names)} {words}: {', '.join(names[:NUM_SHOWN])}{more}")
    elif not findings["fits"]:
        lines.append("  fits nothing: no model known here has an entry of these names and shapes")
    return "\n".join(lines)
