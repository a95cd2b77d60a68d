"""Types of what users pass, for the signatures of the public surface."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset

from sk_hvae.nn import building
from sk_hvae.nn.likelihoods import Likelihood


class _Shaped(Protocol):
    """Frames and sparse matrices, of whichever library."""

    @property
    def shape(self) -> Any: ...


MatrixLike: TypeAlias = ArrayLike | _Shaped | Dataset[Any]
Labels: TypeAlias = ArrayLike | _Shaped

LayerValues: TypeAlias = float | Sequence[float] | NDArray[Any]
LayerSizes: TypeAlias = int | Sequence[int] | NDArray[Any]
LayerUnits: TypeAlias = LayerSizes | Literal["auto"]
LayerRange: TypeAlias = Sequence[LayerValues]
Layer: TypeAlias = int | Literal["top"]
OutputLayers: TypeAlias = Literal["all", "top"] | LayerSizes
ImageShape: TypeAlias = Sequence[int]

Network: TypeAlias = str | tuple[Any, Any] | list[Any]
Columns: TypeAlias = int | str | slice | Sequence[Any] | NDArray[Any] | Callable[[Any], Any]
LikelihoodChoice: TypeAlias = (
    str | Likelihood | Sequence[tuple[Any, Columns] | list[Any]] | Mapping[Any, str | Likelihood]
)
InferenceKind: TypeAlias = building.InferenceKind
TopLayer: TypeAlias = building.TopLayer
Missing: TypeAlias = Literal["auto", "error", "mask"]
HandleUnknown: TypeAlias = Literal["error", "missing"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
MaxEpochs: TypeAlias = int | Literal["auto"]
RandomState: TypeAlias = int | np.random.RandomState | None

Metric: TypeAlias = str | Callable[..., float]
Metrics: TypeAlias = Metric | Sequence[Metric] | Mapping[str, Metric]
