"""Whether now is a good moment for work in the background."""

from __future__ import annotations

import psutil

from studio.config import Config
from studio.memory import MemoryCoordinator


def on_battery() -> bool:
    """Whether the machine runs on its battery; False where there is none or nothing is known of it."""
    sensors = getattr(psutil, "sensors_battery", None)  # not on every system
    battery = sensors() if sensors is not None else None
    return battery is not None and battery.power_plugged is False


def reason_to_wait(config: Config, memory: MemoryCoordinator) -> str:
    """Why work in the background should wait, in a sentence; "" when it need not. Blocks for some milliseconds."""
    if not config.get("watch_on_battery") and on_battery():
        return "The computer runs on its battery."
    return memory.reason
