"""Named workloads, run on flame_remote and its peers in the same minutes; see README.md."""
