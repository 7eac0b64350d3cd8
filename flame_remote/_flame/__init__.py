"""The engine on a Flame cluster: stock workers, nothing of ours installed there."""
