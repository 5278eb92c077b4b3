"""Which kind of page shows this kernel's outputs, as far as a kernel can tell."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["wants_widget"]


def wants_widget(shell: Any) -> bool:
    """Whether the page has no lab extension but runs widgets: VS Code, Colab or marimo.

    Everywhere else our own MIME type with a picture and text beside it is the better output, because it is also what
    the saved notebook shows.
    """
    if "google.colab" in sys.modules:
        return True
    marimo = sys.modules.get("marimo")
    if marimo is not None and getattr(marimo, "running_in_notebook", bool)():
        return True
    if "__vsc_ipynb_file__" in shell.user_ns:
        return True
    # its own kernels inherit this; a server that was started in its terminal names the notebook and has real pages
    return "VSCODE_PID" in os.environ and "JPY_SESSION_NAME" not in os.environ
