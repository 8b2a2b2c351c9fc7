"""The command line. ``main`` registers the commands; each command's code is imported when it runs."""
