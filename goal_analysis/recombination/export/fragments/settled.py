"""What an objective settles before its file is written: flags that choose lines, and numbers that are put in."""

COSINE: bool = True
"""Whether embeddings have to be unit vectors."""

CHECK_FINITE: bool = True
"""Whether NaN and infinities are refused."""

BOTH_ASK: bool = True
"""Whether images and texts are anchors."""

IMAGES_ASK: bool = True
"""Whether images are anchors."""

TEXTS_ASK: bool = True
"""Whether texts are anchors."""

MEAN: bool = True
"""Whether the weights are divided by the number of anchors."""

QUICK_HARDEST: bool = True
"""Whether hardest mining has no need of the matrix of scores."""

QUICK_SOFTMAX: bool = True
"""Whether softmax mining has no need of the matrix of scores."""

WEIGHTED: bool = True
"""Whether triplets have weights other than 1."""

RELATIVE: bool = True
"""Whether pair weights read other pairs."""

RANDOM: bool = True
"""Whether triplets are drawn."""

HAS_SETTINGS: bool = True
"""Whether there are constants to compare."""

UNIFORM: bool = True
"""Whether softmax mining weighs all positives, or all negatives, alike."""

NEGATIVE_IS_CONSTANT: bool = True
"""Whether P⁻ is one number."""

NEGATIVE_IS_ONE: bool = True
"""Whether that number is 1."""

SMALL_OR_LARGE: bool = True
"""Whether the embeddings' lengths decide how exponentials are added."""

ALWAYS_SMALL: bool = True
"""Whether exponents are always small."""

MARGIN: float = 0.2
K: int = 5
DIM: int = 512
CUTOFF: float = 0.5
REACH: float = 1.4
EPSILON: float = 0.01
POSITIVE_SCALE: float = 10.0
NEGATIVE_SCALE: float = 10.0
STRENGTH: float = 1.0
NEGATIVE_WEIGHT: float = 1.0
RECORDED: tuple[float, ...] = ()
