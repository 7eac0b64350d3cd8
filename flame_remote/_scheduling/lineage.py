"""Who started whom, among the calls that have not ended, and in which scope."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from flame_remote._ids import TaskId


class Node:
    """A task, or a scope. Tasks that nobody's task made, and that make none, have none."""

    __slots__ = (
        "cancelled",
        "children",
        "deadline",
        "failure",
        "id",
        "is_scope",
        "parent",
        "stops",
    )

    def __init__(self, identifier: TaskId, parent: Node | None) -> None:
        self.id = identifier
        self.parent = parent
        self.children: dict[TaskId, Node] | None = None
        self.is_scope = False
        self.cancelled = False  # and so is what it will yet start
        # Of a scope only.
        self.stops = False  # the failure of a child cancels the others
        self.deadline: float | None = None
        self.failure = b""  # the first of its children's
        if parent is not None:
            parent.add(self)

    def add(self, child: Node) -> None:
        """Take over a child."""
        if self.children is None:
            self.children = {}
        self.children[child.id] = child


class Lineage:
    """The trees of what has not ended. One caller at a time.

    A task that ends leaves its children to its own parent, so nothing is kept of what has ended,
    however long a chain of tasks that start each other goes on. A scope whose task has ended
    without closing it has nobody to wait for what is in it: that is to be cancelled.
    """

    def __init__(self) -> None:
        self.nodes: dict[TaskId, Node] = {}
        # What is to be cancelled: it was left behind, or started by what is cancelled.
        self.doomed: deque[TaskId] = deque()

    # --- they come and go -----------------------------------------------------------------

    def add(self, task_id: TaskId, parent_id: TaskId) -> None:
        """A task that has not ended, or a scope, has started a task."""
        parent = self.nodes.get(parent_id)
        if parent is None:
            parent = self.nodes[parent_id] = Node(parent_id, None)
        self.nodes[task_id] = Node(task_id, parent)
        if parent.cancelled:
            self.doomed.append(task_id)

    def ended(self, task_id: TaskId) -> None:
        """A task has ended; it need not be known here."""
        node = self.nodes.pop(task_id, None)
        if node is not None:
            self._remove(node)

    def failed(self, parent_id: TaskId, failure: bytes) -> bool:
        """A task of that parent has failed; say whether that ends a scope, which will show it."""
        scope = self.nodes.get(parent_id)
        if scope is None or not scope.stops:
            return False
        scope.failure = scope.failure or failure
        if not scope.cancelled:
            self.doomed += self.cancel(parent_id)
        return True

    def _remove(self, node: Node) -> None:
        parent = node.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(node.id, None)
        for child in list((node.children or {}).values()):
            if child.is_scope and not node.is_scope:
                self.doomed += self.cancel(child.id)
                del self.nodes[child.id]
                self._remove(child)
            else:
                child.parent = parent
                if parent is not None:
                    parent.add(child)

    # --- scopes ---------------------------------------------------------------------------

    def open_scope(
        self, scope_id: TaskId, owner: TaskId, deadline: float | None, *, stops: bool
    ) -> None:
        """A scope begins, in a task or another scope; `owner` 0 is the main program."""
        around = self.nodes.get(owner) if owner else None
        if owner and around is None:
            around = self.nodes[owner] = Node(owner, None)
        scope = self.nodes[scope_id] = Node(scope_id, around)
        scope.is_scope = True
        scope.stops = stops
        scope.deadline = deadline
        scope.cancelled = around is not None and around.cancelled

    def deadline_of(self, identifier: TaskId) -> float | None:
        """Return the earliest deadline of the scopes around a task or scope, its own included."""
        node = self.nodes.get(identifier)
        deadlines = []
        while node is not None:
            if node.deadline is not None:
                deadlines.append(node.deadline)
            node = node.parent
        return min(deadlines, default=None)

    # --- what was started -----------------------------------------------------------------

    def descendants(self, identifier: TaskId) -> list[TaskId]:
        """Return the tasks that a task or scope has started, and what those have."""
        return [node.id for node in self._below(identifier) if not node.is_scope]

    def cancel(self, identifier: TaskId) -> list[TaskId]:
        """Note that a task or scope is cancelled, with all it will start; return its descendants.

        Those that start others come before those others.
        """
        node = self.nodes.get(identifier)
        if node is None:
            node = self.nodes[identifier] = Node(identifier, None)
        node.cancelled = True
        below = list(self._below(identifier))
        for other in below:
            other.cancelled = True
        return [other.id for other in below if not other.is_scope]

    def _below(self, identifier: TaskId) -> Iterator[Node]:
        start = self.nodes.get(identifier)
        queue = deque([] if start is None else [start])
        while queue:
            children = queue.popleft().children
            if children:
                yield from children.values()
                queue += children.values()
