"""One bundle for every kind of page: our own type for the lab extension, a picture for all others, and text."""

from __future__ import annotations

from typing import Any

from prefect_nb.views.model import ViewModel
from prefect_nb.views.svg import to_svg
from prefect_nb.views.text import status_table

__all__ = ["MIME", "bundle"]

MIME = "application/vnd.prefect-nb.flow+json"


def bundle(model: ViewModel) -> dict[str, Any]:
    """What is displayed, and saved with the notebook."""
    return {MIME: model.to_plain(), "image/svg+xml": to_svg(model), "text/plain": status_table(model)}
