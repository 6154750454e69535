"""Result pages: one self-contained HTML file from the values that `--json` prints."""
