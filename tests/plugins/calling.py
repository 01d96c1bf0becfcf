"""Call a plugin as a worker would, without a process."""

from __future__ import annotations

from typing import Any

from samples import Sample
from transom_plugin import Context, Document, Image, Limits, Output, Page, load


def outputs(module: str, action: str, sample: Sample, *, limits: Limits | None = None, **parameters: Any) -> list[Output]:
    document = Document(index=0, media_type=sample.media_type, data=memoryview(sample.data))
    context = Context(parameters=parameters, limits=limits or Limits())
    return list(load(module).run(action, iter([document]), context))


def pages(module: str, action: str, sample: Sample, **more: Any) -> list[Page]:
    found = outputs(module, action, sample, **more)
    assert all(isinstance(one, Page) for one in found)
    return [one for one in found if isinstance(one, Page)]


def images(found: list[Output]) -> list[Image]:
    return [one for one in found if isinstance(one, Image)]
