"""A Ray cluster of three nodes on this machine, one of which can be killed. Run as a program.

Says its address on standard output when it is there: a head that takes no work, and two nodes of one
core. `kill` on standard input kills a node that works, for real, and answers `killed`; the end of
standard input ends the cluster.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(2)]
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        assert line == "kill\n"
        cluster.remove_node(workers.pop(), allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
