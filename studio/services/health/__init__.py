"""Whether everything is sound, and mending it: doctor, repair, health of an index, tuning.

Belongs here: checks and what is done about them, when a person asks.
Does not: how lost rows are told from what survives (`recovery`).
"""

from studio.services.health.doctor import DoctorService
from studio.services.health.report import HealthReport, text_of
from studio.services.health.service import HealthService
from studio.services.health.tuning import DEFAULT_INDEXES, Tuning, TuningService

__all__ = [
    "DEFAULT_INDEXES",
    "DoctorService",
    "HealthReport",
    "HealthService",
    "Tuning",
    "TuningService",
    "text_of",
]
