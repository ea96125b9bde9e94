# Names that all rules share.
import json
import shlex

from aroface.results import Results
from parameters import verbatim
from slurm_resources import (
    TrainingTime,
    job_memory,
    job_minutes,
    job_resources,
    training_resources,
)

RESULTS = PLAN.results
RESOURCES = PLAN.values["resources"]
DEVICE = PLAN.values["training"]["device"]

# Folders as shell commands name them. They stand in the text of commands and not in `params`, which is a rerun trigger:
# a new parameter of `train` or `embed` would make finished jobs run again.
QUOTED = Results(Path(shlex.quote(str(RESULTS.root))))
RUN_DIR = QUOTED.run("{wildcards.run}").path
STATE_DIR = QUOTED.state("{wildcards.run}").path
FEATURES_DIR = QUOTED.features("{wildcards.run}", "{wildcards.benchmark}").path


wildcard_constraints:
    run="[^/]+",
    benchmark="[^/]+",


# Retries are the main process's: a job on a cluster must not try again within its allocation, whose time may be over.
def retries(number):
    """Number of retries of a rule, for this process."""
    return number if workflow.is_main_process else 0


def growing(asked):
    """Resources of a job that gets more memory and time at each attempt."""
    return {
        **job_resources(asked),
        "mem_mb": job_memory(asked),
        "runtime": job_minutes(asked),
    }
