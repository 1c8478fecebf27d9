"""Predictions on disk: strict readers, and writers whose equal results have equal bytes."""

from .manifest import digest, read_manifest
from .output import check_output, check_storable, output_folder
from .result import StoredResult, read_result, write_masks, write_result
from .scores import read_scores, write_scores

__all__ = [
    "StoredResult",
    "check_output",
    "check_storable",
    "digest",
    "output_folder",
    "read_manifest",
    "read_result",
    "read_scores",
    "write_masks",
    "write_result",
    "write_scores",
]
