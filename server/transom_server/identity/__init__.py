"""Establish who calls: a certificate names the peer, a token names its roles, a policy admits it."""
