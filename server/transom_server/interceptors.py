"""Wrap every RPC: sanitise, count, identify, admit, bound in time. The listener lists them once, outermost first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from inspect import isasyncgenfunction
from typing import Any

import grpc
from grpc_status import rpc_status
from transom_wire.errors import DeadlineExceeded, DeadlinePast, Internal, PermissionDenied, TokenMissing, TransomError
from transom_wire.status import to_status

from transom_server.identity.caller import CURRENT, PEER, peer_of
from transom_server.identity.policy import Policy
from transom_server.identity.tokens import TokenVerifier
from transom_server.metrics import Metrics

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[Context], Awaitable[Any]]
"""The rest of an RPC, as far as a layer knows it."""
Layer = Callable[[str, Context, Call], Awaitable[Any]]
"""One concern: `layer(method, context, call)` awaits `call(context)` or raises."""

BEARER = "bearer "


def sanitise() -> Layer:
    """Let no exception's text reach the wire or a log: ours become statuses, all others INTERNAL."""

    async def layer(method: str, context: Context, call: Call) -> Any:
        try:
            return await call(context)
        except TransomError as error:
            await _abort(context, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except (asyncio.InvalidStateError, grpc.aio.BaseError):
            # The peer is gone: there is nobody to tell.
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
            log.error("rpc.failed", extra={"method": method, "reason": type(error).__name__})  # noqa: TRY400
            await _abort(context, Internal())

    return layer


async def _abort(context: Context, error: TransomError) -> None:
    try:
        await context.abort_with_status(rpc_status.to_status(to_status(error)))
    except grpc.aio.AbortError:
        raise
    except (asyncio.InvalidStateError, grpc.aio.BaseError):
        # The peer is gone, or reads nothing: gRPC would log the traceback.
        raise asyncio.CancelledError from None


def count(metrics: Metrics) -> Layer:
    """Count RPCs by method and code."""

    async def layer(method: str, context: Context, call: Call) -> Any:
        code = "OK"
        try:
            return await call(context)
        except TransomError as error:
            code = error.code.name
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            code = "INTERNAL"
            raise
        finally:
            metrics.rpc(method, code)

    return layer


def identify(verifier: TokenVerifier, trust_domain: str, policies: Mapping[str, Policy]) -> Layer:
    """Establish the peer by its certificate and, where the method needs one, the caller by its token."""

    async def layer(method: str, context: Context, call: Call) -> Any:
        policy = policies.get(method)
        if policy is None:
            raise PermissionDenied
        peer = peer_of(context.auth_context(), trust_domain)
        policy.admit_peer(peer.kind)
        PEER.set(peer)
        if policy.needs_token:
            CURRENT.set(verifier.verify(_token(context), peer))
        return await call(context)

    return layer


def _token(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value if isinstance(value, str) else value.decode("ascii", "replace")
            if text[: len(BEARER)].lower() == BEARER:
                return text[len(BEARER) :].strip()
    raise TokenMissing


def admit(policies: Mapping[str, Policy]) -> Layer:
    """Refuse callers whose roles the method does not admit."""

    async def layer(method: str, context: Context, call: Call) -> Any:
        policy = policies[method]
        if policy.needs_token:
            policy.admit(CURRENT.get())
        return await call(context)

    return layer


def bound(unary: frozenset[str], at_most_s: float) -> Layer:
    """Refuse an RPC whose deadline is past, and give every unary RPC without a deadline one."""

    async def layer(method: str, context: Context, call: Call) -> Any:
        left = context.time_remaining()
        if left is not None and left <= 0:
            raise DeadlinePast
        if method not in unary:
            return await call(context)
        try:
            async with asyncio.timeout(at_most_s):
                return await call(context)
        except TimeoutError:
            raise DeadlineExceeded from None

    return layer


class Layers(grpc.aio.ServerInterceptor):
    """Apply layers to every handler, outermost first; a method's handler is wrapped once."""

    def __init__(self, *layers: Layer, readers: Mapping[str, Callable[[bytes], Any]]) -> None:
        self._layers = layers
        self._readers = readers
        """Methods whose requests are read in another way than protobuf's."""
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the wrapped handler of a method."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        serve = self._through(method, _behaviour(handler))
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(serve, self._readers.get(method, handler.request_deserializer), _encoded(handler.response_serializer))

    def _through(self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        async def serve(request: Any, context: Context) -> Any:
            async def innermost(inner: Context) -> Any:
                return await behaviour(request, inner)

            call: Call = innermost
            for layer in reversed(self._layers):
                call = _bind(layer, method, call)
            return await call(context)

        return serve


def _encoded(serialize: Any) -> Any:
    """Let responses pass that were encoded already."""
    return lambda response: response if type(response) is bytes else serialize(response)


def _bind(layer: Layer, method: str, call: Call) -> Call:
    return lambda context: layer(method, context, call)


def _behaviour(handler: Any) -> Callable[[Any, Context], Awaitable[Any]]:
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if not isasyncgenfunction(behaviour):
        return behaviour  # type: ignore[no-any-return]

    async def written(request: Any, context: Context) -> None:
        async for response in behaviour(request, context):
            await context.write(response)

    return written
