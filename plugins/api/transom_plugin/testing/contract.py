"""Check a plugin against every rule, without a runner and without a server."""

from __future__ import annotations

import importlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pluggy

from transom_plugin import manifest
from transom_plugin.context import Context, Secret
from transom_plugin.errors import Cancelled, DocumentError, PluginError, Stopped
from transom_plugin.loading import LoadedPlugin, UnknownAction, load
from transom_plugin.manifest import ActionEntry
from transom_plugin.testing.judgement import Judged
from transom_plugin.testing.rules import REASONS, Breach, check_outputs, require
from transom_plugin.testing.warmth import measured
from transom_plugin.values import Document, Image, Input, Output, Page

MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
HOST = re.compile(r"[A-Za-z0-9*.-]+:[0-9]{1,5}")
GARBAGE_BYTES = 4096
HEADER_BYTES = 16
BLANK = Image(
    document=0, page=1, width=300, height=200, channels=1, dpi=150, data=memoryview(b"\xff" * 60_000),
    page_width=144, page_height=96, unit="point", pages=1,
)  # fmt: skip


class Contract:
    """What a plugin promises, and the samples to try it on."""

    def __init__(
        self,
        module: str,
        *,
        samples: Mapping[str, bytes] | None = None,
        images: Sequence[Image] = (BLANK,),
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Name the plugin.

        Args:
            module: Import name of its package.
            samples: By media type, a document that its actions can read. Several pages show more than one.
            images: For actions that accept images; a blank page by default.
            parameters: By action, what a call needs where the defaults do not do.
            secrets: By name, what its actions ask for.
        """
        self._module = module
        self._samples = dict(samples or {})
        self._images = images
        self._parameters = parameters or {}
        self._secrets = {name: Secret(value) for name, value in (secrets or {}).items()}

    def check(self) -> None:
        """Check every rule.

        Raises:
            Breach: One is broken; the message says which.
        """
        for check in self.checks():
            check()

    def checks(self) -> Sequence[Callable[[], None]]:
        """Return the rules, for a test that wants to run them one by one."""
        return (
            self.check_manifest, self.check_hooks, self.check_warm, self.check_actions, self.check_samples, self.check_empty,
            self.check_garbage, self.check_cancellation, self.check_deadline,
        )  # fmt: skip

    def check_manifest(self) -> None:
        """The manifest is valid, and says what a runner must know."""
        for action in self._actions():
            where = f"manifest of {action.name}"
            takes_documents = action.accepts != "image"
            require(bool(action.media_types) or not takes_documents, f"{where}: media_types is needed where documents are accepted")
            require(all(MEDIA_TYPE.fullmatch(one) for one in action.media_types), f"{where}: media_types must look like image/png")
            require(all(HOST.fullmatch(one) for one in action.hosts), f"{where}: hosts must look like api.example.com:443")
            schema = action.parameters
            strict = not schema or (schema.get("type") == "object" and schema.get("additionalProperties") is False)
            require(strict, f"{where}: parameters must be an object with additionalProperties = false")

    def check_hooks(self) -> None:
        """The module can be imported, and its hooks are spelt right."""
        self._plugin()

    def check_warm(self) -> None:
        """`transom_warm` leaves nothing behind that a fork would inherit."""
        left = measured(self._module, [action.name for action in self._actions()])
        require(not left.failure, f"transom_warm failed: {left.failure}")
        require(left.threads == 0, f"transom_warm leaves {left.threads} threads behind")
        require(left.children == 0, f"transom_warm leaves {left.children} child processes behind")
        require(left.files == 0, f"transom_warm leaves {left.files} open files behind")
        require(left.printed == 0, "transom_warm must not print")

    def check_actions(self) -> None:
        """`transom_run` answers for every action of the manifest, and for no other."""
        plugin = self._plugin()
        for action in self._actions():
            require(self._answers(plugin, action.name), f"transom_run returns None for {action.name}")
        stranger = f"{self._actions()[0].name}_of_another_plugin"
        require(not self._answers(plugin, stranger), "transom_run must return None for an action that is not this plugin's")

    def check_samples(self) -> None:
        """Every media type of the manifest can be read, and the outputs keep the rules."""
        for action in self._actions():
            for name, given in self._inputs(action):
                outputs = self._outputs(action, given, name)
                require(bool(outputs), f"{action.name} answers nothing to the sample {name}")
                check_outputs(action, given.index if isinstance(given, Document) else given.document, outputs)
                failed = [output.error.reason for output in outputs if isinstance(output, Page) and output.error is not None]
                require(not failed, f"{action.name} cannot read a page of the sample {name}: {', '.join(failed)}")

    def check_empty(self) -> None:
        """A document without a byte is the document's fault."""
        for action, media_type, _ in self._documents():
            name = f"an empty document of {media_type}"
            require(
                self._refused(action, Document(index=0, media_type=media_type, data=memoryview(b"")), name),
                f"{action.name} must refuse {name}",
            )

    def check_garbage(self) -> None:
        """Documents that are not what they claim to be, or are cut short, are the document's fault."""
        noise = random.Random(1).randbytes(GARBAGE_BYTES)  # noqa: S311 - the same for every run
        for action, media_type, sample in self._documents():
            name = f"garbage of {media_type}"
            require(
                self._refused(action, Document(index=0, media_type=media_type, data=memoryview(noise)), name),
                f"{action.name} must refuse {name}",
            )
            for broken in (sample[:HEADER_BYTES] + noise, sample[: len(sample) // 2], sample[:-1]):
                self._refused(
                    action, Document(index=0, media_type=media_type, data=memoryview(broken)), f"a damaged document of {media_type}"
                )

    def check_cancellation(self) -> None:
        """A call that nobody waits for ends: before the first output, and between two."""
        self._check_stop("cancelled", lambda context: setattr(context, "is_cancelled", lambda: True), Cancelled)

    def check_deadline(self) -> None:
        """A call whose time is used up ends: before the first output, and between two."""
        self._check_stop("out of time", lambda context: setattr(context, "deadline", time.monotonic() - 1), Stopped)

    def _check_stop(self, state: str, stop: Callable[[Context], None], expected: type[PluginError]) -> None:
        for action in self._actions():
            for name, given in self._inputs(action):
                for before in (0, 1):
                    context = self._context(action)
                    more = self._after_stop(action, given, context, before=before, stop=stop, what=(name, expected))
                    require(not more, f"{action.name} goes on when {state}: call context.check() between steps")

    def _after_stop(
        self,
        action: ActionEntry,
        given: Input,
        context: Context,
        *,
        before: int,
        stop: Callable[[Context], None],
        what: tuple[str, type[PluginError]],
    ) -> bool:
        """Say whether another output comes once the call has been stopped after some."""
        name, expected = what
        with self._judged(action, name, allowed=expected):
            if before == 0:
                stop(context)
            for number, _ in enumerate(self._plugin().run(action.name, iter([given]), context), start=1):
                if number > before:
                    return True
                stop(context)
        return False

    def _answers(self, plugin: LoadedPlugin, name: str) -> bool:
        try:
            plugin.run(name, iter(()), Context(secrets=self._secrets))
        except UnknownAction:
            return False
        except PluginError:
            return True
        return True

    def _refused(self, action: ActionEntry, document: Document, name: str) -> bool:
        """Say whether a document was refused as a whole, or page by page; what was read of it must keep the rules."""
        try:
            outputs = self._outputs(action, document, name, allowed=DocumentError)
        except DocumentError:
            return True
        check_outputs(action, document.index, outputs)
        return bool(outputs) and all(isinstance(output, Page) and output.error is not None for output in outputs)

    def _outputs(self, action: ActionEntry, given: Input, name: str, allowed: type[PluginError] | None = None) -> list[Output]:
        outputs: list[Output] = []
        refusal: PluginError | None = None
        with self._judged(action, name):
            try:
                outputs.extend(self._plugin().run(action.name, iter([given]), self._context(action)))
            except PluginError as error:
                refusal = error
        if refusal is not None:
            require(refusal.reason in REASONS, f"{action.name}: a reason that is not one of transom_plugin.errors, for {name}")
            require(allowed is not None and isinstance(refusal, allowed), f"{action.name} answers {refusal.reason} to {name}")
            raise refusal
        return outputs

    @staticmethod
    def _judged(action: ActionEntry, name: str, allowed: type[PluginError] | None = None) -> Judged:
        return Judged(f"{action.name}, given {name},", allowed)

    def _documents(self) -> Iterator[tuple[ActionEntry, str, bytes]]:
        for action in self._actions():
            for media_type in action.media_types if action.accepts != "image" else ():
                require(media_type in self._samples, f"give a sample of {media_type}, which {action.name} declares")
                yield action, media_type, self._samples[media_type]

    def _inputs(self, action: ActionEntry) -> Iterator[tuple[str, Input]]:
        for owner, media_type, data in self._documents():
            if owner == action:
                yield media_type, Document(index=3, media_type=media_type, data=memoryview(data))
        for image in self._images if action.accepts != "document" else ():
            yield "image", image

    def _context(self, action: ActionEntry) -> Context:
        granted = {name: self._secrets[name] for name in action.secrets if name in self._secrets}
        return Context(parameters=dict(self._parameters.get(action.name, {})), secrets=granted)

    def _actions(self) -> tuple[ActionEntry, ...]:
        importlib.invalidate_caches()
        try:
            return manifest.read(manifest.locate(self._module)).actions
        except manifest.ManifestError as error:
            raise Breach(f"manifest: {error}") from None

    def _plugin(self) -> LoadedPlugin:
        try:
            return load(self._module)
        except (pluggy.PluginValidationError, ImportError) as error:
            raise Breach(f"the plugin cannot be loaded: {error}") from None
