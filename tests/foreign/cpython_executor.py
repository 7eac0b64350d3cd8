"""A program that runs this interpreter's own tests of executors against flame.Executor.

The tests are imported from the interpreter's `test` package. Prints what failed, and as the last
line how many tests passed, were left out by themselves, and failed.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import io
import pkgutil
import sys
import unittest
from types import ModuleType
from typing import Any, Final

import flame_remote as flame

PACKAGE: Final = "test.test_concurrent_futures"
# Classes whose tests hold for every executor, or for those with processes.
FOR_EXECUTORS: Final = (
    "ExecutorTest",
    "WaitTests",
    "AsCompletedTests",
    "ExecutorShutdownTest",
    "InitializerMixin",
    "ExecutorDeadlockTest",
)
# Of ProcessPoolExecutorTest, whose other tests look at its processes, this one.
FOR_PROCESS_POOLS: Final = ("test_map_chunksize",)

_BY_NAME: Final = "imports the executor from concurrent.futures by name, in a program of its own"
_INSIDE: Final = "looks at queues and threads inside a ProcessPoolExecutor"
_OWN_ERROR: Final = "asks for an error of pickle's or of the pool's; flame's says what and where"
DIFFERENT: Final = {
    "test_interpreter_shutdown": _BY_NAME,
    "test_submit_after_interpreter_shutdown": _BY_NAME,
    "test_hang_gh83386": _BY_NAME,
    "test_error_at_task_pickle": _OWN_ERROR,
    "test_error_at_task_unpickle": _OWN_ERROR,
    "test_error_during_result_pickle_on_worker": _OWN_ERROR,
    "test_error_during_result_unpickle_in_result_handler": _OWN_ERROR,
    "test_exit_during_result_unpickle_in_result_handler": _OWN_ERROR,
    "test_exit_at_task_unpickle": _OWN_ERROR,
    "test_exit_during_func_exec_on_worker": "SystemExit of a call is its error, no crash",
    "test_exit_during_result_pickle_on_worker": _OWN_ERROR,
    "test_shutdown_deadlock_pickle": _INSIDE,
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": _INSIDE,
}
# Run one by one, in the main thread: the first handles a signal, the others count on being served
# at once.
ALONE: Final = ("test_hang_gh94440", "test_cancel_futures", "test_free_reference")
MOST_AT_A_TIME: Final = 16


class Adapted(flame.Executor):
    """As a ProcessPoolExecutor is made: a start method means nothing here."""

    def __init__(self, *args: Any, mp_context: object = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def modules() -> list[ModuleType]:
    """Import the tests: one file up to Python 3.11, a package since."""
    package = importlib.import_module(PACKAGE)
    names = [found.name for found in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return [package, *(importlib.import_module(f"{PACKAGE}.{name}") for name in names)]


def cases() -> list[unittest.TestCase]:
    """Make a test case of every test that holds here."""
    found = {name: value for module in modules() for name, value in vars(module).items()}
    chosen: list[unittest.TestCase] = []
    for class_name in (*FOR_EXECUTORS, "ProcessPoolExecutorTest"):
        tests = found[class_name]
        bases = [tests, found["ExecutorMixin"], unittest.TestCase]
        case_type = type(class_name, tuple(dict.fromkeys(bases)), {"executor_type": Adapted})
        if issubclass(tests, found["ExecutorMixin"]):
            case_type = type(class_name, (tests, unittest.TestCase), {"executor_type": Adapted})
        case_type.get_context = lambda self: None
        for name in unittest.TestLoader().getTestCaseNames(case_type):
            holds_here = class_name in FOR_EXECUTORS or name in FOR_PROCESS_POOLS
            if holds_here and name not in DIFFERENT:
                chosen.append(case_type(name))
    return chosen


def run(case: unittest.TestCase) -> unittest.TestResult:
    result = unittest.TextTestResult(unittest.runner._WritelnDecorator(io.StringIO()), True, 0)
    case.run(result)
    return result


def main() -> int:
    from test import support

    support.use_resources = []  # without those that measure long times
    support.verbose = False
    # Most of them sleep: all at once, each with an executor of its own.
    flame.init(num_cpus=64)
    chosen = cases()
    alone = [case for case in chosen if case._testMethodName in ALONE]
    with concurrent.futures.ThreadPoolExecutor(MOST_AT_A_TIME) as threads:
        results = list(threads.map(run, [case for case in chosen if case not in alone]))
    results += map(run, alone)
    skipped = sum(len(result.skipped) for result in results)
    failed = [text for result in results for _, text in (*result.errors, *result.failures)]
    for result in results:
        for case, text in (*result.errors, *result.failures):
            print(f"--- {case}\n{text}")
    print(f"{len(chosen) - skipped - len(failed)} passed, {skipped} skipped, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
