"""A worker for tests: echoes frames, or misbehaves as a frame says."""

from __future__ import annotations

import os
import time

from studio.workers import HEADER, Channel


def main() -> None:
    channel = Channel.claim_stdio()
    print("a print that must not end up between two frames", flush=True)
    os.write(1, b"nor this\n")
    while True:
        try:
            kind, request, body = channel.receive()
        except EOFError:
            return
        if body == b"die":
            os.abort()
        if body == b"lie":
            os.write(channel._writer.fileno(), HEADER.pack(1, 1, 0xFFFF_FFFF))
            continue
        while body == b"stay":  # deaf to the closing of the pipe
            time.sleep(60)
        channel.send(kind, request, body, b"!")


if __name__ == "__main__":
    main()
