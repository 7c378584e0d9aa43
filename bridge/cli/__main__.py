"""`python -m bridge.cli`: how serve starts its processes."""

from bridge.cli import main

main()
