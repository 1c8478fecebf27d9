"""Batch re-scoring: every video of a benchmark refined and scored, before and after, in a folder that can be resumed."""

from .folder import RunFolder
from .plan import RunPlan, Source, make_plan
from .pool import Executor, Processes
from .run import Summary, rescore

__all__ = ["Executor", "RunPlan", "Processes", "RunFolder", "Source", "Summary", "make_plan", "rescore"]
