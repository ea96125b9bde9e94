"""The verb ``aroface plan``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from aroface.cli.arguments import Arguments, Verbs, above_zero, add_configuration, add_verb, check_suffix, positive
from aroface.errors import InputError


def add_plan_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "plan",
        "say what a configuration will cost and what is missing, and write its recipes and benchmarks",
        "aroface plan --configfile workflow/configs/demo.yaml",
        _do_plan,
    )
    verb.add_argument("--json", action="store_true", help="all numbers, for machines, instead of a table")
    verb.add_argument("--files", action="store_true", help="name the files that were written instead")
    verb.add_argument(
        "--gpus",
        type=positive,
        metavar="N",
        help="to count on (gpu.count of slurm/site.yaml, else 16): when is it done?",
    )
    verb.add_argument(
        "--gpus-per-node", type=positive, metavar="N", help="of them (gpu.per_node of slurm/site.yaml, else 4)"
    )
    verb.add_argument("--power", action="store_true", help="say how many seeds and people a difference needs, instead")
    verb.add_argument(
        "--difference",
        type=above_zero,
        metavar="POINTS",
        help="of two methods, that --power is about (1 of 100); found in 4 of 5 cases by a test of 5 %%",
    )
    verb.add_argument("--schedule", type=Path, metavar="FILE.pdf", help="draw what runs when, as PDF and PNG")
    add_configuration(verb)


def _do_plan(options: Arguments) -> None:
    from aroface.planning.forecast.costs import plan_costs
    from aroface.planning.forecast.costs_text import as_json, print_table
    from aroface.planning.forecast.outlook_text import jobs_line, outlook_json, time_lines
    from aroface.planning.forecast.power import DIFFERENCE, find_power
    from aroface.planning.forecast.power_text import power_json, power_lines, print_power
    from aroface.planning.forecast.workload import find_outlook, find_site, tasks_to_do
    from aroface.planning.plan import make_plan

    if options.difference and not options.power:
        raise InputError("--difference without --power", remedy="say aroface plan --power --difference POINTS")
    check_suffix(options.schedule, ".pdf", ".png")
    plan = make_plan(options.configfile)
    plan.write()
    costs = plan_costs(plan)
    tasks, cluster = tasks_to_do(plan), {"gpus": options.gpus, "gpus_per_node": options.gpus_per_node}
    if options.schedule:
        from aroface.planning.forecast.gantt import draw_schedule

        draw_schedule(find_outlook(plan, costs, tasks, find_site(plan, **cluster)).schedule, options.schedule, plan)
    if options.json:
        outlook = outlook_json(find_outlook(plan, costs, tasks, find_site(plan, **cluster)))
        power = power_json(find_power(plan, options.difference or DIFFERENCE))
        print(json.dumps({**as_json(costs, plan.missing()), "outlook": outlook, "power": power}, indent=2))
    elif options.files:
        for run in plan.runs:
            print(f"run        {plan.recipe_file(run)}")
        for benchmark in plan.benchmarks.values():
            print(f"benchmark  {benchmark.file}")
    elif options.power:
        print_power(find_power(plan, options.difference or DIFFERENCE))
    else:
        print_table(costs)
        print(jobs_line(tasks), *time_lines(plan, costs, tasks, **cluster), *power_lines(plan), sep="\n")
    for line in plan.missing():
        print(f"missing: {line}", file=sys.stderr)
    costs.check_budget()
