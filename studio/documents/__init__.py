"""Documents: from a file on disk to cited passages.

`parser_pool` reads files in worker processes, `chunker` cuts the text into passages, `texts` keeps
the extracted text for previews, `citations` finds a passage on its page again.
"""

from studio.documents.kinds import SUPPORTED_EXTENSIONS, document_id, file_kind

__all__ = ["SUPPORTED_EXTENSIONS", "document_id", "file_kind"]
