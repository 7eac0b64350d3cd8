"""The embedded engine: this machine's cores, pipes and shared memory, no server and no names."""
