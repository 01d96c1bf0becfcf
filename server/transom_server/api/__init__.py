"""Speak gRPC: each module is one service, and turns messages into values and back."""
