"""What code can know of where it runs."""

import ray


@ray.remote
def here():
    context = ray.get_runtime_context()
    return context.get_task_name(), context.get_actor_id(), context.get_assigned_resources()


@ray.remote
class Actor:
    def ids(self):
        return ray.get_runtime_context().get_actor_id()


ray.init(num_cpus=2)
print(ray.get(here.remote()))
actor = Actor.remote()
first, second = ray.get([actor.ids.remote(), actor.ids.remote()])
print(first == second, all(digit in "0123456789abcdef" for digit in first))
print(ray.get_runtime_context().get_task_id(), ray.get_gpu_ids())
print(ray.cluster_resources()["CPU"], len(ray.nodes()), ray.nodes()[0]["Alive"])
ray.shutdown()

# prints:
# ('here', None, {'CPU': 1.0})
# True True
# None []
# 2.0 1 True
