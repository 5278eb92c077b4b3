"""What users start: the command line, the papermill engine, the JupyterLab hooks."""
