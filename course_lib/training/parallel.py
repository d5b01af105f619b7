"""Device, precision and processes of a training, by way of accelerate.

`accelerate launch --multi_gpu --num_processes 2 script.py` starts the script twice (with COURSE_DEVICE=cpu: on two
cores, despite the flag's name). Each process works on its slice of every batch; averaging the gradients makes their
steps one step on the whole batch. (A batch norm still sees its own slice only.)
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.training.precision import choose_precision

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(
    precision: str, device: torch.device, n_threads: int
) -> tuple[Accelerator, torch.device, str, str]:
    """Settle where and how finely a training computes.

    accelerate keeps its first choice for the life of the process. A notebook may train in fp32 here and in bf16
    there, so it is made to forget; the process group of a launch stays.
    Args:    device: used if this is the only process; in a launch, accelerate gives each process its own.
             n_threads: how many the training will use on a CPU.
    Returns: the accelerator, the device, "fp32" or "bf16", and why."""
    from accelerate import Accelerator  # here, since `import course_lib.training` should be quick
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import broadcast_object_list, parse_flag_from_env

    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
    else:
        AcceleratorState._reset_state()
    on_cpu = device.type == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU")
    state = PartialState(cpu=on_cpu)
    if state.num_processes > 1:
        atexit.register(_leave_group)
        device = torch.device("cpu") if on_cpu else state.device
    choice = list(choose_precision(precision, device, n_threads) if state.is_main_process else ("", ""))
    precision, why = broadcast_object_list(choice)  # two stopwatches may differ: the main process's counts
    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=on_cpu)
    return accelerator, device, precision, why


def share_weights(model: nn.Module, accelerator: Accelerator) -> None:
    """All processes start from the main one's weights, however each was seeded."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import broadcast

    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(broadcast(tensor.contiguous()))


def own_slice(index: Tensor, accelerator: Accelerator) -> Tensor:
    """This process's share of a batch that all processes drew alike.

    Args:    index: (B,), B a multiple of the number of processes.
    Returns: (B / n_processes,)
    Raises:  ValueError if the batch can't be shared evenly: the mean of means would not be the batch's mean."""
    n = accelerator.num_processes
    if len(index) % n:
        below = len(index) // n * n
        choices = f"{below} or {below + n}" if below else str(n)
        raise ValueError(f"a batch of {len(index)} can't be shared evenly by {n} processes; use a batch of {choices}")
    return index.chunk(n)[accelerator.process_index]


def average_gradients(parameters: Iterable[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace each process's gradients by the mean over processes: the gradient of the whole batch's mean loss."""
    if accelerator.num_processes == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = accelerator.reduce(torch.cat([grad.reshape(-1) for grad in grads]), "mean")  # one message, not one a weight
    for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(mean.view(grad.shape))


def _leave_group() -> None:
    """Part from the other processes in good order: torch aborts if its threads outlive the interpreter."""
    gc.collect()  # whatever still holds on to the group
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
