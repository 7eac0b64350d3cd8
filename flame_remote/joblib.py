"""joblib on flame: `import flame_remote.joblib` registers the backend "flame".

    import joblib
    import flame_remote.joblib

    with joblib.parallel_config(backend="flame"):
        joblib.Parallel(n_jobs=-1)(joblib.delayed(f)(x) for x in items)

scikit-learn, and whatever else uses joblib, runs on the engine's workers inside such a block. They
stay warm between two calls. Large arrays among the arguments are stored once per call of
`Parallel` and mapped by all tasks that take them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from flame_remote import _current
from flame_remote._deadline import Deadline
from flame_remote._initializer import Initializer
from flame_remote._jobs import Callback, Job, Jobs
from flame_remote._options import TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._remote import RemoteFunction
from flame_remote._session import ensure_engine
from flame_remote._shared_arguments import Calls, SharedArguments, put_back
from flame_remote.exceptions import ForkedError
from flame_remote.runner.source import Source


def _import_joblib() -> tuple[Any, Any]:
    """Return joblib.parallel and joblib.disk, which are without types."""
    try:
        return import_module("joblib.parallel"), import_module("joblib.disk")
    except ImportError as error:
        raise ImportError(
            f"flame_remote.joblib needs joblib 1.3 or newer: pip install joblib ({error})"
        ) from error


_parallel, _disk = _import_joblib()
_AutoBatchingMixin: Any = _parallel.AutoBatchingMixin
_ParallelBackendBase: Any = _parallel.ParallelBackendBase

# What joblib passes to every backend and means something to those with files and pools only.
_NOT_FOR_US: Final = frozenset({"context", "mmap_mode", "temp_folder", "verbose"})
_DEEPEST: Final = 1  # level of nesting at which jobs still run in parallel
_AHEAD: Final = 64  # jobs that wait in the engine; each look at them costs a little


class FlameBackend(_AutoBatchingMixin, _ParallelBackendBase):  # type: ignore[misc]
    """Runs the batches of one joblib.Parallel on the engine.

    A list of results is pulled by the thread that wants it, which then also hands out the next
    batches: inside a task that is the only thread whose wait lends its CPU to other tasks. For a
    generator of results, whose consumer comes and goes, a thread does so instead.
    """

    supports_inner_max_num_threads = False
    supports_sharedmem = False
    supports_return_generator = True
    supports_timeout = True
    uses_threads = False
    default_n_jobs = -1
    # joblib doubles a batch until it takes so long; a call costs less here than joblib expects.
    MIN_IDEAL_BATCH_DURATION = 0.2
    MAX_IDEAL_BATCH_DURATION = 2

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        """Options are those of `configure`."""
        super().__init__(
            nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **options
        )
        if nesting_level:
            self.default_n_jobs = 1
        self.parallel: Any = None  # a joblib.Parallel
        self.supports_retrieve_callback = True  # until it is known what is asked for
        # Set by `configure`.
        self._run: RemoteFunction[..., Any]
        self._jobs = Jobs(1, has_thread=False)
        self._shared = SharedArguments(None)
        self._initializer: Initializer | None = None

    # --- what joblib asks before it begins ------------------------------------------------

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many jobs run at a time; a negative number counts down from all CPUs.

        One in a process made by os.fork(), as by a multiprocessing.Pool: it has no engine.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or _is_forked():
            return 1
        if n_jobs < 0:
            return max(1, _cpus() + 1 + n_jobs)
        return n_jobs

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        max_nbytes: int | str | None = "1M",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **others: Any,
    ) -> int:
        """Prepare for a call of `parallel`, or a block of them; return how many jobs run at a time.

        Args:
            n_jobs: as in joblib.Parallel.
            parallel: whose backend this is.
            prefer: a hint that joblib has already heeded.
            require: the same.
            max_nbytes: from which size arrays are stored once instead of with each call; None:
                never.
            initializer: called once in each worker before its first job.
            initargs: its arguments.
            others: what joblib passes to all backends.

        Raises:
            TypeError: an option is unknown.
        """
        unknown = sorted(others.keys() - _NOT_FOR_US)
        if unknown:
            raise TypeError(
                f"the joblib backend 'flame' has no option {unknown[0]!r}; "
                "options: max_nbytes, initializer, initargs"
            )
        n_jobs = self.effective_n_jobs(n_jobs)
        returns_generator = bool(getattr(parallel, "return_generator", False))
        if n_jobs == 1 or (returns_generator and _is_in_task()):
            raise _parallel.FallbackToBackend(
                _parallel.SequentialBackend(nesting_level=self.nesting_level)
            )
        self.parallel = parallel
        cpus = _cpus()
        share = min(1.0, cpus / n_jobs)
        self._run = RemoteFunction(_RUN_BATCH, TaskOptions(num_cpus=share, max_retries=0))
        initializer = initializer or self.backend_kwargs.get("initializer")
        initargs = initargs or self.backend_kwargs.get("initargs", ())
        if initializer is not None:
            self._initializer = Initializer(initializer, tuple(initargs))
        self._shared = SharedArguments(_bytes_of(max_nbytes))
        self.supports_retrieve_callback = returns_generator
        # Where there are jobs for all CPUs, the engine sees to it that no more run.
        most = n_jobs if n_jobs < cpus else n_jobs + _AHEAD
        self._jobs = Jobs(most, has_thread=returns_generator)
        return n_jobs

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Return what a Parallel inside a job uses: this too, and one by one still further inside.

        It runs as many jobs at a time as it asks for; one, if it does not say.
        """
        level = (self.nesting_level or 0) + 1
        if level > _DEEPEST:
            return _parallel.SequentialBackend(nesting_level=level), None
        return FlameBackend(nesting_level=level), None

    def __reduce__(self) -> tuple[Any, ...]:
        return _backend_at, (self.nesting_level,)

    # --- jobs -----------------------------------------------------------------------------

    def submit(self, func: Any, callback: Callback | None = None) -> Job:
        """Start a batch of calls, or let it wait for its turn. Does not block."""
        return self._jobs.add(lambda: self._submitted(func), callback)

    def _submitted(self, func: Any) -> ObjectRef[Any]:
        refs: list[ObjectRef[Any]] = []
        calls = self._shared.replaced(func.items, refs)
        nested, n_jobs = func._backend, func._n_jobs
        return self._run.remote(calls, nested, n_jobs, self._initializer, *refs)

    def retrieve_result_callback(self, job: Job) -> Any:
        """Return the results of a job that has ended; raise its error."""
        return job.result()

    def retrieve_result(self, job: Job, timeout: float | None = None) -> Any:
        """Wait for a job and return its results; hand out the next ones meanwhile.

        Raises:
            joblib.parallel.TimeoutError: it has not ended after `timeout` seconds.
        """
        if not self._jobs.wait(job, Deadline(timeout)):
            raise _parallel.TimeoutError(
                f"a job of joblib.Parallel has not ended after {timeout} s"
            )
        return job.result()

    # --- end ------------------------------------------------------------------------------

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what waits and what runs. The backend can be used again."""
        self._jobs.abort()

    def stop_call(self) -> None:
        """A call of `parallel` is over: let its large arguments go."""
        self._shared.clear()

    def terminate(self) -> None:
        """The last call is over. The engine and its workers stay."""
        self._shared.clear()
        self._jobs.close()
        self.reset_batch_stats()


def _backend_at(nesting_level: int | None) -> FlameBackend:
    return FlameBackend(nesting_level=nesting_level)


def _cpus() -> int:
    return max(1, int(ensure_engine().resources().get("CPU", 1)))


def _is_forked() -> bool:
    try:
        _current.current_engine()
    except ForkedError:
        return True
    return False


def _is_in_task() -> bool:
    engine = _current.engine
    return engine is not None and engine.current_task() != 0


def _bytes_of(size: int | str | None) -> int | None:
    """Turn joblib's "1M" into a number of bytes."""
    return int(_disk.memstr_to_bytes(size)) if isinstance(size, str) else size


def _run_batch(
    calls: Calls,
    nested: Any,
    n_jobs: int | None,
    initializer: Initializer | None,
    *shared: Any,
) -> list[Any]:
    """Run in a worker: the calls of one batch."""
    if initializer is not None:
        initializer.run()
    with _parallel.parallel_config(backend=nested, n_jobs=n_jobs):
        return [function(*args, **kwargs) for function, args, kwargs in put_back(calls, shared)]


_RUN_BATCH: Final = Source.of(_run_batch)

_parallel.register_parallel_backend("flame", FlameBackend)
