"""Read specs: validate each, and remember those that hold metadata alone, since callers send the same one again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from transom.runs.v1 import run_pb2

from transom_server.api.convert import request_of
from transom_server.api.validation import validate
from transom_server.keys import Keyed, keyed_of
from transom_server.run import Request

REMEMBERED: Final = 1024
MAX_SPEC_BYTES: Final = 512


class Specs:
    """Turn specs into requests.

    A spec with parameters or a digest says something of a document, and a key may hold anything, so that none is remembered.
    """

    def __init__(self, complete: Callable[[Request], Request]) -> None:
        self._complete = complete
        self._known: dict[bytes, Request] = {}

    def request_of(self, spec: run_pb2.RunSpec) -> Request:
        """Validate and read a spec.

        Raises:
            TransomError: It breaks a rule.
        """
        if spec.idempotency_key or spec.HasField("parameters") or any(document.sha256 for document in spec.documents):
            return self._read(spec)
        key = spec.SerializeToString()
        known = self._known.get(key)
        if known is None:
            known = self._read(spec)
            if len(key) <= MAX_SPEC_BYTES:
                if len(self._known) >= REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = known
        return known

    def keyed(self, tenant: str, spec: run_pb2.RunSpec) -> Keyed | None:
        """Return the digests of a valid spec's idempotency key and of the spec; None without a key."""
        if not spec.idempotency_key:
            return None
        return keyed_of(tenant, spec.idempotency_key, spec.SerializeToString(deterministic=True))

    def _read(self, spec: run_pb2.RunSpec) -> Request:
        validate(spec)
        return self._complete(request_of(spec))
