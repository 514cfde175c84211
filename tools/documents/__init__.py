"""Search over the user's own documents, offline: text, Markdown, HTML, PDF and source code."""

from .index import DocumentIndex, IndexProgress, IndexReport, Passage
from .tool import DocumentSearch

__all__ = ["DocumentIndex", "DocumentSearch", "IndexProgress", "IndexReport", "Passage"]
