"""`transom protos export`: write the contract, for clients in other languages."""

from __future__ import annotations

from pathlib import Path

import click

from transom_client.contract import DESCRIPTORS
from transom_client.contract import export as export_contract


@click.group()
def protos() -> None:
    """Write the contract, for clients in other languages."""


@protos.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path) -> None:
    """Write the .proto files and a descriptor set that holds all of them.

    Left out are only the files of google/protobuf, which every generator brings along.
    """
    written = export_contract(folder)
    for path in written:
        click.echo(path)
    click.echo(f"{len(written)} files; give {DESCRIPTORS} to tools that take a descriptor set (grpcurl -protoset)", err=True)
