"""`python -m mmsim`: the command line."""

from mmsim.cli import main

main(prog_name="mmsim")
