"""Sub-center ArcFace: ArcFace with several centres a class, of which the closest counts.

    L = log(1 + Σ_n exp(scale·(cos θ_n − cos(θ_p + margin)))),  cos θ_c = max_k s_ck over the centres k of a class c

Source: J. Deng, J. Guo, T. Liu, M. Gong, S. Zafeiriou, Sub-center ArcFace: Boosting Face Recognition by Large-Scale
Noisy Web Faces (ECCV 2020),
https://www.ecva.net/papers/eccv_2020/papers_ECCV/papers/123560715.pdf.

Embeddings query the centres, unit vectors of which those of a class stand side by side; the paper has three a class.
Beyond this it is `arc_face`, with the same limits of its margin; pytorch-metric-learning takes that in degrees, 28.6.
"""

from dataclasses import replace

from goal_analysis.symbolic.language.aggregators import MAX
from losses_catalog.arc_face import arc_face_loss

sub_center_arc_face_loss = replace(
    arc_face_loss,
    name="sub_center_arc_face",
    title="Sub-center ArcFace",
    reference=("deng2020subcenter",),
    grouped=MAX,
)
