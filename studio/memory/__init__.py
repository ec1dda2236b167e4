"""The memory budget: readings of the operating system, grants, levels of pressure, and what is given up at each."""

from studio.memory.actions import (
    DROP_CACHES,
    FLUSH,
    ORDER,
    PAUSE_INGEST,
    SMALLER_BATCHES,
    SMALLER_CACHES,
    UNLOAD_IDLE_MODELS,
    Step,
)
from studio.memory.budget import GIB, Budget, Grant, amount
from studio.memory.coordinator import MemoryCoordinator, MemorySnapshot
from studio.memory.heap import arrow_bytes, give_back, use_few_arenas, use_system_heap
from studio.memory.ledger import APPLICATION, Holding, Kind
from studio.memory.pressure import Level
from studio.memory.readings import (
    MachineReading,
    ProcessReading,
    cached_bytes,
    machine_memory_bytes,
    machine_reading,
    mapped_files,
    process_reading,
)

__all__ = [
    "APPLICATION",
    "DROP_CACHES",
    "FLUSH",
    "GIB",
    "ORDER",
    "PAUSE_INGEST",
    "SMALLER_BATCHES",
    "SMALLER_CACHES",
    "UNLOAD_IDLE_MODELS",
    "Budget",
    "Grant",
    "Holding",
    "Kind",
    "Level",
    "MachineReading",
    "MemoryCoordinator",
    "MemorySnapshot",
    "ProcessReading",
    "Step",
    "amount",
    "arrow_bytes",
    "cached_bytes",
    "give_back",
    "machine_memory_bytes",
    "machine_reading",
    "mapped_files",
    "process_reading",
    "use_few_arenas",
    "use_system_heap",
]
