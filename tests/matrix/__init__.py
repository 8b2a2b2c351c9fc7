"""The golden matrix: every upstream case in every client dialect, as files."""
