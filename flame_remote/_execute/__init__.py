"""The only place that calls user code, and how its results and errors get ready to travel."""
