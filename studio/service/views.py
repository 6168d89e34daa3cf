"""What front ends see of jobs, pictures, memory and weights: plain JSON values."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from studio import samplers
from studio.core.records import ImageRecord, Job
from studio.core.requests import schema
from studio.costs.machine import Machine
from studio.costs.memory import Memory
from studio.costs.plan import ways_on
from studio.service.shelves import Shelves
from studio.tasks._maps import preprocessors
from studio.tasks._poses import SKELETON
from studio.tasks._references import methods
from studio.tasks._task import Task
from studio.tasks.style import stylizers

if TYPE_CHECKING:
    from studio.checkpoints.catalog import Checkpoint
    from studio.checkpoints.files import File
    from studio.upscalers._upscaler import Upscaler


def job_json(job: Job, images: Iterable[ImageRecord]) -> dict[str, Any]:
    """A job as front ends see it, with the pictures that it has so far."""
    return {
        "id": job.id,
        "task": job.task,
        "state": job.state.value,
        "request": dict(job.request),
        "notes": list(job.notes),
        "images": [
            {"id": record.id, "seed": record.seed, "index": record.index} for record in images
        ],
        "error": dict(job.error) if job.error else None,
        "position": job.position,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
    }


def choices(shelves: Shelves, tasks: Mapping[str, Task], machine: Machine) -> dict[str, Any]:
    """What a request may name, with the JSON schema of each task and method."""
    offered = offers(shelves, machine)
    return {
        **offered,
        "stylizers": [
            {**row, "schema": schema(stylizers()[row["id"]].params)} for row in offered["stylizers"]
        ],
        "preprocessors": [
            {
                "id": entry.id,
                "label": entry.label,
                "about": entry.about,
                "kind": entry.kind.value,
                "ready": shelves.has_weights(entry),
                "needs": asdict(entry.needs) if entry.needs else None,
                "schema": schema(entry.params),
            }
            for entry in preprocessors().values()
        ],
        "skeleton": dict(SKELETON),
        "tasks": [
            {"id": task.id, "label": task.label, "schema": schema(task.request)}
            for task in tasks.values()
        ],
    }


def offers(shelves: Shelves, machine: Machine) -> dict[str, Any]:
    """What a form lets people choose from; `machine` is what jobs run on."""
    checkpoints, upscalers = shelves.catalog.all(), shelves.upscalers.all()
    usable = [checkpoint for checkpoint in checkpoints if not checkpoint.problem]

    def fits(file: "File") -> list[str]:
        return [] if file.problem else [one.id for one in usable if file.fits(one)]

    return {
        "checkpoints": [_checkpoint_json(checkpoint, machine) for checkpoint in checkpoints],
        "controlnets": [
            {
                "id": control.id,
                "label": control.label,
                "kinds": list(control.kinds),
                "size_bytes": control.size_bytes,
                "fits": [c.id for c in usable if control.fits(c.steered)],
                "problem": control.problem,
            }
            for control in shelves.controls.all()
        ],
        "image_prompts": [
            {
                "id": prompt.id,
                "label": prompt.label,
                "size_bytes": prompt.size_bytes,
                "eyes": prompt.eyes,
                "fits": [c.id for c in usable if prompt.fits(c)],
                "problem": prompt.problem,
            }
            for prompt in shelves.image_prompts.all()
        ],
        "loras": [
            {**_file_json(file), "alias": file.alias, "fits": fits(file)}
            for file in shelves.extras.loras.all()
        ],
        "embeddings": [
            {**_file_json(file), "vectors": file.vectors, "fits": fits(file)}
            for file in shelves.extras.embeddings.all()
        ],
        "vaes": [{**_file_json(file), "fits": fits(file)} for file in shelves.extras.vaes.all()],
        "refiners": [
            {
                "id": one.id,
                "label": one.label,
                "fits": [c.id for c in usable if one.family in c.refiners],
            }
            for one in usable
            if any(one.family in c.refiners for c in usable)
        ],
        "stylizers": [
            {
                "id": entry.id,
                "label": entry.label,
                "about": entry.about,
                "paints": entry.repaint is not None,
            }
            for entry in stylizers().values()
        ],
        "samplers": [{"id": row.id, "label": row.label} for row in samplers.ROWS],
        "upscalers": [_upscaler_json(upscaler) for upscaler in upscalers],
        "default_checkpoint": usable[0].id if usable else None,
        "default_upscaler": shelves.upscalers.get(None).id,
    }


def memory_json(memory: Memory | None) -> dict[str, Any]:
    """A snapshot as front ends see it; all zeros where there is no engine."""
    found = memory or Memory(device="", dtype="")
    return {**found.data(), "weights": found.weights}


def record_json(record: ImageRecord) -> dict[str, Any]:
    """A picture as front ends see it: everything but its owner and where its file lies."""
    return {
        "id": record.id,
        "job": record.job_id,
        "index": record.index,
        "task": record.task,
        "request": dict(record.request),
        "seed": record.seed,
        "width": record.width,
        "height": record.height,
        "prompt": record.request.get("prompt", ""),
        "negative_prompt": record.request.get("negative_prompt", ""),
        "checkpoint": record.request.get("checkpoint"),
        "infotext": record.infotext,
        "facts": dict(record.facts),
        "created": record.created,
        "starred": record.starred,
        "trashed": record.trashed,
        "parents": list(record.parents),
    }


def _checkpoint_json(checkpoint: "Checkpoint", machine: Machine) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "label": checkpoint.label,
        "family": checkpoint.family,
        "family_label": checkpoint.family_label,
        "native_px": checkpoint.native_px,
        "multiple_px": checkpoint.multiple_px,
        "size_bytes": checkpoint.size_bytes,
        "defaults": asdict(checkpoint.defaults),
        "supports": asdict(checkpoint.supports),
        "guidance": checkpoint.guidance.value,
        "samplers": list(checkpoint.samplers),
        "roles": sorted(checkpoint.roles),
        "strengthless": sorted(checkpoint.strengthless),
        "balances": list(checkpoint.balances),
        "problem": checkpoint.problem,
        "advice": checkpoint.advice,
        "ways": list(ways_on(machine, checkpoint.anatomy)),
        "references": list(methods(checkpoint)),
        "lacks": [asdict(one) for one in checkpoint.lacks],
    }


def _file_json(file: "File") -> dict[str, Any]:
    return {
        "id": file.id,
        "name": file.name,
        "label": file.label,
        "size_bytes": file.size_bytes,
        "problem": file.problem,
        "advice": file.advice,
    }


def _upscaler_json(upscaler: "Upscaler") -> dict[str, Any]:
    return {
        "id": upscaler.id,
        "label": upscaler.label,
        "about": upscaler.about,
        "scale": upscaler.scale,
        "needs": upscaler.needs,
        "problem": upscaler.problem,
        "advice": upscaler.advice,
    }
