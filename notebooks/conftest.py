"""`python -m pytest notebooks` runs every notebook in its fast mode, as a program."""

collect_ignore_glob = ["[0-9]*.py"]  # scripts, which must not run when collected
