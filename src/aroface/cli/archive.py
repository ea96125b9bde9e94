"""The verbs of ``aroface archive``: results as one file for an archive such as Zenodo, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from aroface import __version__
from aroface.cli.arguments import Arguments, Verbs, add_configuration, add_group, add_verb, workflow_command


def add_archive_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface archive`` and its verbs."""
    kinds = add_group(verbs, "archive", "pack results into one file for Zenodo and the like, or unpack such a file")
    verb = add_verb(
        kinds,
        "pack",
        "write records, recipes, manifests, tables, figures and chosen weights as an RO-Crate in a zip file",
        "aroface archive pack deposit.zip --configfile config.yaml\n"
        "  aroface archive pack deposit.zip --configfile config.yaml --weights all",
        _do_pack,
    )
    verb.add_argument("out", type=Path, metavar="FILE.zip", help="the file; no image goes into it")
    verb.add_argument("--weights", nargs="+", default=[], metavar="RUN", help="runs whose weights go along, or all")
    add_configuration(verb)
    verb.add_argument("--root", type=Path, default=Path(), help="folder of the repository (%(default)s)")
    verb = add_verb(
        kinds,
        "unpack",
        "check such a file against its checksums and put it into a folder of results, for snakemake to go on from",
        "aroface archive unpack deposit.zip --out results\n"
        "  snakemake --cores all --configfile config.yaml    # nothing that is there is trained or embedded again",
        _do_unpack,
    )
    verb.add_argument("archive", type=Path, metavar="FILE.zip", help="what aroface archive pack wrote")
    verb.add_argument("--out", type=Path, required=True, help="folder of results: paths.results of the configuration")


def _do_pack(options: Arguments) -> None:
    from aroface.errors import InputError
    from aroface.files import check_place
    from aroface.planning.deposit_content import deposit_content
    from aroface.planning.plan import make_plan
    from aroface.planning.products import find_products
    from aroface.reporting.deposit import write_deposit

    if options.out.suffix.lower() != ".zip":
        raise InputError("another name than that of a zip file", file=options.out, expected="FILE.zip")
    check_place(options.out)
    plan = make_plan(options.configfile, root=options.root)
    plan.write()
    content = deposit_content(
        find_products(plan, root=options.root),
        options.configfile,
        __version__,
        workflow=workflow_command(options.configfile),
        weights=options.weights,
        root=options.root,
    )
    print(f"{options.out}: {write_deposit(content, options.out)}")


def _do_unpack(options: Arguments) -> None:
    from aroface.reporting.deposit import read_deposit

    print(f"{options.out}: {read_deposit(options.archive, options.out)}")
