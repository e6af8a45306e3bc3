"""The nodes of a Ray cluster: what they have, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from polyml.errors import UserError

T = TypeVar("T")
_NODE_SECONDS = 120.0  # for a node to answer a question; the first one imports polyml there
_SHARE = 0.9  # of a CPU that a worker claims; the rest is for the small tasks around it


@dataclass(frozen=True)
class Node:
    """A living node of a cluster: its id, how people call it, and what it has."""

    id: str
    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes
    ----------
    where : str
        How messages call it.
    driver : str
        Id of the node that this process is on.
    """

    where: str
    driver: str

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are alive now."""
        import ray

        return tuple(
            Node(
                item["NodeID"],
                f"{item['NodeManagerHostname']} ({item['NodeManagerAddress']})",
                float(item["Resources"].get("CPU", 0.0)),
                float(item["Resources"].get("GPU", 0.0)),
            )
            for item in ray.nodes()
            if item["Alive"]
        )

    def slots(self, *, cpus: int = 1, on_gpus: bool = False) -> int:
        """Count the workers that fit, each with so many CPUs, and with a GPU where that is asked for.

        Raises
        ------
        UserError
            No node fits one.
        """
        nodes = self.nodes
        fitting = [int(node.cpus) // cpus for node in nodes]
        if on_gpus:
            fitting = [min(count, int(node.gpus)) for count, node in zip(fitting, nodes, strict=True)]
        if sum(fitting):
            return sum(fitting)
        there = "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes) or "no nodes"
        needed = f"{cpus} CPU{'s' if cpus > 1 else ''}{' and 1 GPU' if on_gpus else ''}"
        fix = f"add a node with at least {needed} (ray start --num-cpus), or use --engine local"
        raise UserError(f"no node fits a worker, which needs {needed}; there are: {there}", where=self.where, fix=fix)

    def ask_nodes(self, question: Callable[..., T], *arguments: Any, seconds: float = _NODE_SECONDS) -> dict[Node, T]:
        """Call a function on each node that has CPUs, and return the answers.

        Raises
        ------
        UserError
            A node does not answer in time, or the function raised there what is no error of polyml.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = ray.remote(num_cpus=0, max_retries=2)(question)
        asked = {}
        for node in self.nodes:
            if node.cpus:
                there = NodeAffinitySchedulingStrategy(node.id, soft=False)
                asked[node] = remote.options(scheduling_strategy=there).remote(*arguments)
        answers = {}
        for node, answer in asked.items():
            try:
                answers[node] = ray.get(answer, timeout=seconds)
            except ray.exceptions.GetTimeoutError:
                fix = "look whether it is overloaded (ray status), or remove it"
                raise UserError(f"node {node.name} does not answer", where=self.where, fix=fix) from None
            except ray.exceptions.RayError as error:
                fix = "look at the logs of the node, or remove it"
                raise UserError(f"node {node.name} fails: {brief(error)}", where=self.where, fix=fix) from error
        return answers


def worker_share(cpus: int = 1) -> float:
    """Return the CPUs that a worker claims, a little less than it uses: reading and writing find room beside it."""
    return cpus * _SHARE


def brief(error: BaseException) -> str:
    """Return what an error says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
