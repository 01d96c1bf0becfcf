"""What every test relies on."""

import signal

# A shell that starts us in the background has SIGINT ignored, and every process below inherits that: a test that presses
# Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
