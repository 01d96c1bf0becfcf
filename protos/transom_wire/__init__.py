"""What both ends of the wire agree on beside the protos: errors, limits, channel options, credentials, data classes."""
