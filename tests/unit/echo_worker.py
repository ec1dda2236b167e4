"""A worker for tests: echoes frames, or misbehaves as its argument says."""

from __future__ import annotations

import os
import sys

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
        if body == b"stay" or (len(sys.argv) > 1 and sys.argv[1] == "deaf"):
            while True:
                sys.stdin.read() or os.read(0, 1) or __import__("time").sleep(60)
        channel.send(kind, request, body, b"!")


if __name__ == "__main__":
    main()
