"""Recipe: everything that decides the final weights of a training, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from aroface.errors import InputError
from aroface.files import HASH_DIGITS, digest, read_json
from aroface.models.options import INSIGHTFACE, BackboneOptions
from aroface.schemas import validate


@dataclass(frozen=True, slots=True)
class Optimiser:
    """Stochastic gradient descent with momentum (insightface arcface_torch ``train_v2.py``).

    Attributes:
        lr: Learning rate at the recipe's total batch size.
        momentum: Momentum of every parameter.
        weight_decay: L2 penalty.
        decay_norm_and_bias: True if batch norm, PReLU and bias parameters decay as well, as in the released code.
        clip_norm: Largest L2 norm of the backbone's gradient; the classifier's is not clipped. None for no limit, as in
            AdaFace's code.
        decay_batch_norm: True if batch norm decays where ``decay_norm_and_bias`` says so; if not, only PReLU and biases
            decay beside convolutions, linear layers and classes, as in AdaFace's code.
    """

    lr: float
    momentum: float
    weight_decay: float
    decay_norm_and_bias: bool
    clip_norm: float | None
    decay_batch_norm: bool = True


@dataclass(frozen=True, slots=True)
class LearningRateSchedule:
    """Learning rate as a function of the step; see :func:`aroface.training.lr_schedule.learning_rate`.

    Attributes:
        kind: ``polynomial`` decay to zero over all steps, or division at given epochs (``step``).
        power: Exponent of the polynomial.
        milestones: Epochs at which ``step`` multiplies by ``factor``.
        factor: See ``milestones``.
        warmup_epochs: Epochs of linear warm-up from zero; the decay runs over what is left.
    """

    kind: Literal["polynomial", "step"]
    power: float = 1.0
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    warmup_epochs: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Resolved recipe, as ``recipe.schema.json`` describes it.

    Attributes:
        arch: Name in the registry of backbones.
        embedding_size: Dimension of the embedding.
        head: ``name`` of the margin function and its options.
        adversary: ``kind``, ``profile`` and options of the alignment adversary, ``warmup_epochs`` of its strength.
        optimiser: See :class:`Optimiser`.
        schedule: See :class:`LearningRateSchedule`.
        epochs: Passes over the training set.
        batch_size: Images of one step over all processes.
        precision: Arithmetic of the backbone's convolutions; everything else stays in float32 unless ``autocast`` says
            otherwise.
        flip: Probability of a horizontal flip.
        cpu_threads: Threads of CPU arithmetic. They decide the order of floating-point sums, hence the bits.
        deterministic: True if CUDA kernels with a fixed order of summation are asked for.
        tf32: True if CUDA's convolutions may round float32 to TF32, as PyTorch's default has it and so the released
            code; what is computed in half precision is not concerned.
        low_quality: Options of AdaFace's augmentations (`LowQualityOptions`); None for none.
        sample_rate: Share of the other classes that take part in a step (Partial FC, arXiv 2203.15565).
        batch_norm: Batch norm of several processes: ``local``: each normalises by its own images, and the first one's
            running statistics are saved, as in the released code; ``averaged``: by its own images, and the mean of the
            running statistics is saved; ``synchronised``: by the images of all; ``broadcast``: as ``local``, with the
            first one's running statistics, those of the head included, sent to all before each pass, as in AdaFace's.
        growth_interval: Steps without an overflow after which fp16's loss scale doubles (of ``GradScaler``, whose own
            default is 2,000; the ARoFace authors' code has 100). Nothing under another precision.
        gradient_compression: Precision of the backbone's gradients on the way between processes. ``fp16`` leaves
            those of a single process as they are, where the released code rounds them, too; ``fp16_always`` rounds
            them.
        backbone: Options of the backbone's training, see `BackboneOptions`.
        class_weights: Initial class weights, see ``initial`` of `Classifier`.
        autocast: Scope of ``precision``: ``convolutions``, as in the released code, or ``everything``: the last
            layers and the cosines, too, as in AdaFace's.
        last_batch: Treatment of the images that are left over at the end of an epoch: they make a smaller batch
            (``kept``) or none (``dropped``).
        images_per_pass: Images of one forward pass of one process, for any number of processes: by so many batch norm
            normalises, and so many a head's ``norm_stats: local`` see. None for an equal share of the batch.
        class_update: With a ``sample_rate`` below 1, the classes that feel momentum and weight decay: those that were
            ``drawn``, as the Partial FC paper has it, or ``all``, as its released code does.
        class_draw: With a ``sample_rate`` below 1, whether classes are drawn once for each ``step``, or for each
            ``pass``, so that the adversary attacks through other classes than those that are trained, as released.
        pairs: ``kind`` of a term of the batch's pairs and its options, see `heads.pair_terms`; None for none.
        batch_loss: ``kind`` of a loss of the whole batch and its options, see `heads.batch_losses`; None for none.
        images_per_identity: Images of each identity in a batch, which holds as many identities as fit; see
            `identity_order` of the loader. None for batches of images in a random order.
        start: Hash of the ``weights`` that a fine-tuning starts from, and perhaps of the ``classifier`` released with
            them; both are found in a finished run beside the one that is trained. None for new weights.
    """

    arch: str
    embedding_size: int
    head: dict[str, Any]
    adversary: dict[str, Any]
    optimiser: Optimiser
    schedule: LearningRateSchedule
    epochs: int
    batch_size: int
    precision: Literal["fp32", "bf16", "fp16"]
    flip: float
    cpu_threads: int
    deterministic: bool
    tf32: bool = False
    low_quality: dict[str, Any] | None = None
    sample_rate: float = 1.0
    batch_norm: Literal["local", "averaged", "synchronised", "broadcast"] = "local"
    gradient_compression: Literal["none", "fp16", "fp16_always"] = "none"
    growth_interval: int = 2000
    backbone: BackboneOptions = INSIGHTFACE
    class_weights: Literal["normal", "unit"] = "normal"
    autocast: Literal["convolutions", "everything"] = "convolutions"
    last_batch: Literal["dropped", "kept"] = "dropped"
    images_per_pass: int | None = None
    class_update: Literal["drawn", "all"] = "drawn"
    class_draw: Literal["step", "pass"] = "step"
    pairs: dict[str, Any] | None = None
    batch_loss: dict[str, Any] | None = None
    images_per_identity: int | None = None
    start: dict[str, str] | None = None

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any], file: str | PathLike[str] | None = None) -> Recipe:
        """Check ``mapping`` against the schema and type it.

        Raises:
            InputError: An unknown or missing key, or a value of the wrong type or range.
        """
        validate(mapping, "recipe", file=file)
        schedule = {**mapping["schedule"], "milestones": tuple(mapping["schedule"].get("milestones", ()))}
        plain = {
            **mapping,
            "optimiser": Optimiser(**mapping["optimiser"]),
            "schedule": LearningRateSchedule(**schedule),
        }
        plain["backbone"] = BackboneOptions(**mapping.get("backbone", {}))
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class RunRecipe:
    """Run to train: its name, its experiment, and its recipe.

    Attributes:
        name: ``{method}-{dataset}-{arch}-s{seed}-{hash}``.
        experiment: ``method``, ``dataset``, ``arch`` and ``seed``.
        recipe: Resolved recipe.
        recipe_hash: Hash of recipe, data, seed and semantics; its first digits end the name.
        data: ``name`` and ``manifest_hash`` of the training set.
        semantics: Number that is raised by hand when the meaning of a recipe changes.
        source: Mapping that ``recipe`` was made from, for the record.
    """

    name: str
    experiment: dict[str, Any]
    recipe: Recipe
    recipe_hash: str
    data: dict[str, str]
    semantics: int
    source: dict[str, Any] = field(repr=False)

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.experiment["seed"])


def fitting_processes(asked: int, batch_size: int, images_per_pass: int | None) -> int:
    """Number of processes that a training keeps busy: those asked for, or fewer where a recipe limits them.

    Args:
        asked: Number of processes there could be, at least 1.
        batch_size: Images of one step over all processes.
        images_per_pass: Images that the recipe requires in each forward pass; None for any number.
    """
    return asked if images_per_pass is None else min(asked, max(1, batch_size // images_per_pass))


def recipe_hash(recipe: dict[str, Any], manifest_hash: str, seed: int, semantics: int) -> str:
    """Hash of all that decides a run's weights, insensitive to key order and to ``24`` against ``24.0``."""
    return digest({"recipe": recipe, "data": manifest_hash, "seed": seed, "semantics": semantics})


def read_run(path: str | PathLike[str]) -> RunRecipe:
    """Read ``results/recipes/{run}.json`` and check that its content and its hash agree.

    Raises:
        InputError: The file is no such recipe, or was edited after it was named.
    """
    entry = read_json(path)
    keys = {"run", "experiment", "recipe", "recipe_hash", "data", "semantics"}
    if not isinstance(entry, dict) or not keys <= {*entry}:
        raise InputError("no recipe of a run", file=path, remedy="let aroface plan write it")
    try:
        seed, semantics = entry["experiment"]["seed"], entry["semantics"]
        expected = recipe_hash(entry["recipe"], entry["data"]["manifest_hash"], seed, semantics)
        same = entry["recipe_hash"] == expected and entry["run"].endswith(expected[:HASH_DIGITS])
    except (KeyError, TypeError, AttributeError):
        raise InputError("no recipe of a run", file=path, remedy="let aroface plan write it") from None
    if not same:
        raise InputError(
            "the recipe does not have the hash in its name",
            file=path,
            expected=expected[:HASH_DIGITS],
            remedy=f"delete {Path(path).name} and change the configuration instead",
        )
    return RunRecipe(
        name=entry["run"],
        experiment=entry["experiment"],
        recipe=Recipe.from_mapping(entry["recipe"], file=path),
        recipe_hash=entry["recipe_hash"],
        data=entry["data"],
        semantics=semantics,
        source=entry["recipe"],
    )
