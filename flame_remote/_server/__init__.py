"""The local Flame cluster: session manager, executors and object cache, for one machine."""
