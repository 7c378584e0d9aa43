"""A customer's firewall as words: what may be written (grammar), changes that find their rule again (edits), and who
is let in (ways). No I/O."""
