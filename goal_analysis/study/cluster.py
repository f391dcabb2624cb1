"""Ray as the engine of a study, whose folder and data are on a disk that all machines see: "Ray: A Distributed
Framework for Emerging AI Applications" (Moritz et al., OSDI 2018, https://arxiv.org/abs/1712.05889).
"""

import os
from typing import Any

import ray  # pyright: ignore[reportMissingImports]

from goal_analysis.study.engine import ATTEMPTS, Job


class RayCluster:
    """Jobs as tasks of Ray, with a CPU and so many GPUs each, also a part of one; by default one where any are."""

    def __init__(self, address: str | None = None, gpus: float | None = None) -> None:
        told = {name: value for name, value in os.environ.items() if name.startswith("GOAL_ANALYSIS_")}
        ray.init(address, runtime_env={"env_vars": told}, log_to_driver=False, logging_level="warning")
        has = ray.cluster_resources()
        gpus = float(has.get("GPU", 0) > 0) if gpus is None else gpus
        self.places = max(1, int(has.get("GPU", 0) / gpus if gpus else has.get("CPU", 1)))
        # A process ends with its job, so that nothing of one is left to the next.
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=ATTEMPTS - 1, max_calls=1)(_call)
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        """Start the job when there is room."""
        self._running[self._task.remote(job, os.getcwd())] = job

    def wait(self, seconds: float) -> dict[Job, str]:
        """The jobs that have ended, and how."""
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=seconds)
        ended = {}
        for task in ready:
            try:
                how = f"ended with {ray.get(task)}"
            except ray.exceptions.RayError as problem:
                how = " ".join(str(problem).split())
            ended[self._running.pop(task)] = how
        return ended

    def cancel(self, job: Job) -> None:
        """End the job's process."""
        for task in [task for task, of in self._running.items() if of == job]:
            ray.cancel(task, force=True)

    def close(self) -> None:
        """End all jobs, and leave the cluster."""
        for job in list(self._running.values()):
            self.cancel(job)
        ray.shutdown()


def _call(job: Job, folder: str) -> object:
    os.chdir(folder)
    try:
        job.call()
    except SystemExit as end:
        return end.code or 0
    return 0
