"""What a plain script does: `chroma_peer.py MODEL.gguf TEXTS.json FOLDER`. Prints the seconds it took."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import chromadb
from llama_cpp import Llama


def main() -> None:
    """Embed one text at a time with the library's defaults and add the lot to a persistent collection."""
    model, texts, folder = sys.argv[1:4]
    documents = json.loads(Path(texts).read_text("utf-8"))
    llama = Llama(model_path=model, embedding=True, verbose=False, n_ctx=512)
    collection = chromadb.PersistentClient(f"{folder}/chroma").create_collection("texts")
    begun = time.perf_counter()
    for first in range(0, len(documents), 100):
        part = documents[first : first + 100]
        ids = [str(first + offset) for offset in range(len(part))]
        collection.add(ids=ids, documents=part, embeddings=[llama.embed(text, truncate=True) for text in part])
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
