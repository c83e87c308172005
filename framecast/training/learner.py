"""The learner: a network, the running average of its weights, the optimizer, and one step."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from framecast.data.batches import Batch, prefetched, training_batches
from framecast.data.plan import Plan
from framecast.data.windows import Window
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint
from framecast.prediction.checkpoint_checks import check_tensor
from framecast.runtime.device import autocast, explained_memory, placed
from framecast.runtime.distributed import Group, peers_explained
from framecast.training.cuda_graph import WARM_UPS, Recording
from framecast.training.losses import LOSSES
from framecast.training.starting_point import FIRST_SHARE
from framecast.training.step_precision import StepPrecision

_OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    # Shi et al., 2015, section 4: RMSProp with decay rate 0.9.
    "rmsprop": partial(torch.optim.RMSprop, alpha=0.9),
}


class Learner:
    """Two copies of a network: one is optimized, the running average of its weights is saved.

    Of several processes each has a Learner that does its `part` of every batch; they stay equal,
    since gradients are averaged over all.
    """

    def __init__(self, plan: Plan, group: Group, start: Checkpoint | None = None) -> None:
        """Build the network, with the weights of a model to start from or with the plan's seed.

        ResourceError when memory does not hold it.
        """
        self.plan, self.group, self.settings = plan, group, plan.config.train
        self.device, self.part = group.device, group.share(plan.batch_size)
        self.precision = StepPrecision(self.settings.precision, self.device)
        with explained_memory("use a smaller --resize, or --model convlstm"):
            # The caller's own random numbers go on as if there had been no training.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(self.settings.seed)
                network = build_forecaster(plan.config.model, plan.channels, plan.sizes[0])
            self.pretrained = start is not None
            if start is not None:
                network.load_state_dict(start.weights)
            self.network = placed(network, self.device)
            # Means over steps (Polyak & Juditsky 1992) are less noisy than the last weights.
            self.average = copy.deepcopy(self.network)
        # Pretrained weights before the first step; empty for other networks.
        self.first: dict[str, Tensor] = {}
        self.share = FIRST_SHARE if self.pretrained else 1.0
        self.optimizer = _OPTIMIZERS[self.settings.optimizer](
            self.network.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.wrapped: nn.Module = self.network
        self.recording = None
        if self.network.recordable and group.size == 1 and self.device.startswith("cuda"):
            self.recording = Recording(self._gradients, self.device)

    @property
    def slow_steps(self) -> int:
        """The number of first steps that take longer than the later ones."""
        return WARM_UPS + 1 if self.recording else max(1, self.precision.steps_left)

    def batches(
        self, clips: Sequence[np.ndarray], first_step: int = 0, windows: Sequence[Window] = ()
    ) -> Iterator[Batch]:
        """This process's part of the training batches from a step on, made in a thread.

        `windows` are those of the plan unless given. To be closed.
        """
        batches = training_batches(
            clips,
            windows or self.plan.split.train,
            self.plan.split.shape,
            batch_size=self.plan.batch_size,
            crop=self.plan.crop,
            changes=self.plan.config.data,
            seed=self.settings.seed,
            first_step=first_step,
            part=self.part,
        )
        if self.device.startswith("cuda"):
            batches = map(Batch.pinned, batches)
        return prefetched(batches)

    def go_back(self, weights: Mapping[str, Tensor]) -> None:
        """Load earlier weights into both copies, to start from there."""
        self.network.load_state_dict(weights)
        self._begin_here()

    def start(self, new: bool) -> None:
        """Get ready for the first step; in a new run the average begins at the weights."""
        self.wrapped = self.group.wrap(self.network)
        if new:
            self._begin_here()

    def _begin_here(self) -> None:
        self.average.load_state_dict(self.network.state_dict())
        if self.pretrained:
            self.first = {name: w.detach().clone() for name, w in self.network.named_parameters()}

    def step(self, batch: Batch, lr: float, number: int) -> float:
        """Do optimizer step `number`, counted from 1, on this process's part of a batch.

        Returns the loss of the whole batch; NaN where it or its gradients are not finite, and then
        the weights stay as they are.
        """
        started = time.monotonic()
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = lr
        self.network.train()
        with peers_explained(), explained_memory("use a smaller --batch-size or --crop"):
            share = self.recording(batch) if self.recording else self._gradients(batch)
        loss = self.group.sum(share)
        # Over many recurrent steps gradients can explode (Pascanu et al. 2013, arXiv:1211.5063).
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        if not torch.isfinite(loss + norm):  # asked once for both, since a GPU is waited for
            return math.nan
        self.optimizer.step()
        self._update_average(number)
        found = loss.item()
        measuring = self.precision.chosen is None
        self.precision.record(time.monotonic() - started)
        if measuring:  # the processes compute alike, whatever each of them has measured
            self.precision.chosen = self.group.broadcast(self.precision.chosen)
        return found

    def _gradients(self, batch: Batch) -> Tensor:
        """Make the gradients of this process's part of a batch; returns its share of the loss."""
        with autocast(self.device, self.precision.next):
            batch = batch.to(self.device)
            frames_BTCHW = self.wrapped(batch.context_BTCHW, self.plan.split.shape.horizon).float()
            loss = LOSSES[self.settings.loss](
                frames_BTCHW, batch.reaching_back(frames_BTCHW.shape[1])
            )
            # From a mean over this part to its share of the mean over the batch.
            share = loss * (len(self.part) / self.plan.batch_size)
        self.optimizer.zero_grad()
        # Gradients are averaged over the processes, where those of the shares have to be summed.
        (share * self.group.size).backward()
        return share.detach()

    def _update_average(self, step: int) -> None:
        # Early on the average follows faster, so that it does not remember the first weights.
        decay = min(self.settings.ema, step / (step + 10))
        means = dict(self.average.named_parameters())
        with torch.no_grad():
            for name, weight in self.network.named_parameters():
                kept = self.first[name].lerp(weight, self.share) if self.first else weight
                means[name].lerp_(kept, 1 - decay)

    def keep(self, share: float) -> None:
        """Keep that share of what fine-tuning changes, also of what it has changed so far."""
        with torch.no_grad():
            for name, mean in self.average.named_parameters():
                mean.copy_(self.first[name].lerp(mean, share / self.share))
        self.share = share

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, copied to the CPU: those to forecast with."""
        return _on_cpu(self.average)

    def state(self) -> dict[str, Any]:
        """The state that `restore` needs in addition to the averaged weights."""
        return {
            "network": _on_cpu(self.network),
            "first": {name: weight.cpu() for name, weight in self.first.items()},
            "share": self.share,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "precision": self.precision.state(),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint with `state()` in its progress; raises what is wrong there."""
        # Not in the runs of framecast 0.1, none of which started from pretrained weights.
        first = checkpoint.progress.get("first", {})
        for name, tensor in (*checkpoint.progress["network"].items(), *first.items()):
            check_tensor(name, tensor)
        wanted = {name: weight.shape for name, weight in self.network.named_parameters()}
        self.pretrained = bool(first)
        if first and {name: weight.shape for name, weight in first.items()} != wanted:
            raise ValueError("first: not the weights of this network")
        self.first = {name: weight.to(self.device) for name, weight in first.items()}
        share = checkpoint.progress.get("share", FIRST_SHARE if first else 1.0)
        if type(share) is not float or not 0 < share <= 1:
            raise ValueError("share: expected a number above 0, at most 1")
        self.share = share
        self.average.load_state_dict(checkpoint.weights)
        self.network.load_state_dict(checkpoint.progress["network"])
        moments = checkpoint.progress["optimizer"]["state"]
        _check_moments(moments, [*self.network.parameters()])
        groups = self.optimizer.state_dict()["param_groups"]  # as the settings have them
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(checkpoint.progress["random"])
        if "precision" in checkpoint.progress:  # not in those of earlier versions
            self.precision.restore(checkpoint.progress["precision"])


def _on_cpu(network: nn.Module) -> dict[str, Tensor]:
    # Clones, since the next step changes these weights in place.
    return {name: t.detach().cpu().clone() for name, t in network.state_dict().items()}


def _check_moments(
    moments: Mapping[int, Mapping[str, Tensor]], weights: list[nn.Parameter]
) -> None:
    """Raise ValueError unless these are counts, or tensors of their weights' shapes, for each."""
    if len({frozenset(each) for each in moments.values()}) > 1:
        raise ValueError("optimizer: not the same of all weights")
    for number, each in moments.items():
        for name, tensor in each.items():
            check_tensor(name, tensor)
            if tensor.shape not in ((), weights[number].shape):
                raise ValueError(f"optimizer: {name} of weight {number} has another shape")
