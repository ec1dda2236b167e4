"""Which names belong to the system and not to the person, in folders and in archives alike."""

from __future__ import annotations

_SYSTEM_NAMES = frozenset({
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "recycler", "system volume information",
    "node_modules", "__pycache__", "__macosx", "lost+found", "pagefile.sys", "hiberfil.sys", "swapfile.sys",
    "ntuser.dat",
})  # fmt: skip
"""Names, in lower case, of what operating systems and tools leave in folders of documents."""


def has_hidden_name(name: str) -> bool:
    """Whether a name is that of a hidden or system file, or of a lock that an office program holds ("~$…")."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM_NAMES
