"""What a metric is: rows of sums, the numbers that follow from them, and the protocol that names both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rsmoe.data.sample import Sample
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.tally import Tally

Pairs = Sequence[tuple[Sample, Prediction]]
Vocabulary = Mapping[str, int] | None
"""Word -> id, for protocols on word ids."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to compute numbers. It never changes; a correction gets the next number behind the ``@``."""

    id: str
    """``<family>/<name>@<version>``."""
    title: str
    """A few words."""
    sentence: str
    """What is done, scale included."""
    source: str = "ours"
    """Where it comes from."""
    scorer: str = ""
    """The public scorer that gives the same numbers; "" where there is none."""
    tolerance: str = ""
    """How close to it: "1e-9"."""
    tasks: tuple[str, ...] = ()
    """Tasks of ``conf/task`` whose samples it scores; none where its input is no sample with a prediction."""
    fields: tuple[str, ...] = ("text",)
    """What it reads of a `Prediction`: names of its attributes, or of its ``outputs``."""


class Metric(ABC):
    """One protocol, computed. A file of its own holds the class, ``conf/metric/<name>.yaml`` its arguments.

    A metric that is no mean over samples (CIDEr-D, a recall over a gallery) fixes what depends on the corpus when it
    makes the rows: every number has to follow from sums of them, so that the bootstrap never scores a sample twice.
    """

    protocol: Protocol
    unscaled: frozenset[str] = frozenset()
    """Names of numbers, without what follows a "/", that are printed as they are; all others x100."""
    lower_is_better: frozenset[str] = frozenset()
    """Names of numbers where less is better."""
    hidden: frozenset[str] = frozenset()
    """Numbers that are computed and not reported."""
    chance: str = ""
    """Id of the protocol that gives the same numbers for predictions at random; "" where there is none."""
    needs_vocabulary: bool = False
    """Whether `with_vocabulary` has to come before `tally`."""

    @abstractmethod
    def tally(self, pairs: Pairs) -> Tally | None:
        """Rows and numbers, on the scale 0 to 1, of samples and their predictions; None where nothing can be scored.

        Raises:
            UserError: a sample or a prediction lacks what the protocol needs; it is named.
        """

    def with_vocabulary(self, vocabulary: Vocabulary) -> Metric:
        """The same metric on the word ids of a release; itself, where it does not score word ids."""
        return self

    def scale(self, number: str) -> float:
        """What a number is multiplied with when it is printed."""
        return 1.0 if number.split("/")[0] in self.unscaled else 100.0
