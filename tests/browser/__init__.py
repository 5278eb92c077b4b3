"""JupyterLab in Chromium; a package, so that what all its tests share ends with the last of them."""
