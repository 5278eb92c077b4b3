"""What users write: decorators, magics and the runner of cells; the only floor that knows IPython."""
