"""What runs in the process of a model, and the messages that it exchanges.

Belongs here: everything that imports llama_cpp.
Does not: starting and ending the process (`client`).
"""

from studio.embedding.worker import protocol
from studio.embedding.worker.protocol import Kind, ProtocolError, ReadyInfo

__all__ = [
    "Kind",
    "ProtocolError",
    "ReadyInfo",
    "protocol",
]
