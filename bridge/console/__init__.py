"""A machine's screen in the browser: one-time codes, and the relay that authenticates upstream. The only package with
websockets."""
