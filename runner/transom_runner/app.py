"""Build every object of the runner once, in order, and close them in reverse. Nothing happens at import."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Final

from transom_wire.limits import MIB

from transom_runner import catalog, sandbox
from transom_runner.catalog import Offer, Plugin
from transom_runner.config import Config
from transom_runner.template import Bounds, Template, TemplateGone, TemplateRefused
from transom_runner.template_main import EXECUTOR
from transom_runner.worker import Crew, Post

log = logging.getLogger(__name__)

EXECUTOR_BOUNDS: Final = Bounds(memory_bytes=2048 * MIB, cpu_seconds=3600)


class App:
    """One runner."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._plugins = catalog.find(config.plugin_paths, config.plugins)
        self._executors = Template(EXECUTOR)
        self._templates = {
            plugin.module: Template(plugin.module, [action.name for action in plugin.manifest.actions], path=plugin.path)
            for plugin in self._plugins
        }
        self._offers: dict[str, Offer] = {}
        self._posts: dict[str, Post] = {}
        self._containment = sandbox.NONE

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; live attempts may then end, for a bounded time."""
        templates = [self._executors, *self._templates.values()]
        try:
            # Before gRPC is even imported: its threads and a fork do not go together.
            for template in templates:
                template.start()
            await self._warm()
            async with asyncio.TaskGroup() as tasks:
                keepers = [tasks.create_task(one.keep(self.config.warm_within_s), name="template keeper") for one in templates]
                await self._connected(stop)
                for keeper in keepers:
                    keeper.cancel()
        finally:
            for template in templates:
                template.stop()
            log.info("runner.stopped")

    async def _warm(self) -> None:
        await self._executors.ready(self.config.warm_within_s)
        ready = [plugin for plugin in self._plugins if await self._is_ready(plugin)]
        for plugin in self._plugins:
            if plugin not in ready:
                self._templates.pop(plugin.module).stop()
        self._offers = catalog.offers(ready)
        self._posts = self._posted(ready)
        self._containment = min(one.containment for one in (self._executors, *self._templates.values()))
        log.info("runner.warm", extra={"count": len(self._offers), "containment": self._containment})

    async def _is_ready(self, plugin: Plugin) -> bool:
        try:
            await self._templates[plugin.module].ready(self.config.warm_within_s)
        except TemplateRefused as refused:
            log.error("plugin.refused", extra={"plugin": plugin.module, "reason": str(refused)})  # noqa: TRY400
        except TemplateGone:
            log.error("plugin.refused", extra={"plugin": plugin.module, "reason": "LOADING_FAILED"})  # noqa: TRY400
        else:
            return True
        return False

    def _posted(self, plugins: list[Plugin]) -> dict[str, Post]:
        """Say where the workers of every action, and the executors of every flow, come from."""
        ceiling = self.config.worker_memory_bytes
        posts: dict[str, Post] = {}
        for plugin in plugins:
            for action in plugin.manifest.actions:
                memory = min(action.memory_bytes, ceiling) if ceiling else action.memory_bytes
                bounds = Bounds(memory_bytes=memory, cpu_seconds=action.cpu_seconds)
                posts[action.name] = Post(template=self._templates[plugin.module], bounds=bounds, shares_pages=action.shares_pages)
        for offer in self._offers.values():
            if offer.needs:
                posts[offer.name] = Post(template=self._executors, bounds=EXECUTOR_BOUNDS)
        return posts

    async def _connected(self, stop: asyncio.Event) -> None:
        from transom_runner.attempts import Workshop
        from transom_runner.connection import Connection

        config = self.config
        workshop = Workshop(
            boot_id=secrets.token_bytes(16), pool=config.pool, labels=config.labels, containment=self._containment,
            offers=lambda: self._offers, crew=lambda: Crew(self._posts), attempts=config.attempts, memory_bytes=config.memory_bytes,
            max_result_bytes=config.max_result_bytes, max_pages=config.max_pages, max_pixels=config.max_pixels,
        )  # fmt: skip
        connection = Connection(config, workshop)
        serving = asyncio.create_task(connection.run(), name="connection")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        connection.drain()
        _, late = await asyncio.wait((serving,), timeout=config.drain_s)
        for task in late:
            log.warning("runner.drain_timeout")
            task.cancel()
        await asyncio.gather(serving, return_exceptions=bool(late))
