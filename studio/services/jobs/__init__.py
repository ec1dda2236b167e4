"""The queue: what is to be done, in which order, steered from any program.

Belongs here: accepting, running, pausing, cancelling and retrying jobs, and the events of it.
Does not: what a job does (`ingest`).
"""

from studio.services.jobs.events import JobChanged, JobEnded, JobEvent, JobProgress
from studio.services.jobs.queue import JobQueue
from studio.services.jobs.requests import Requests
from studio.services.jobs.sample_library import SampleService

__all__ = [
    "JobChanged",
    "JobEnded",
    "JobEvent",
    "JobProgress",
    "JobQueue",
    "Requests",
    "SampleService",
]
