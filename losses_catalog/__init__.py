"""Deep-metric-learning losses as values, one a file; `catalog` lists them, family by family.

>>> from goal_analysis.symbolic.analysis.decomposition import decompose
>>> from losses_catalog.vse_pp import vse_pp_loss
>>> decompose(vse_pp_loss).field.factors
Factors(triplet=step(margin + s_n - s_p), positive=1, negative=1)
"""

import json
from pathlib import Path

from goal_analysis.symbolic.objective import Objective
from losses_catalog.apo_down import apo_down_loss
from losses_catalog.apo_zero import apo_zero_loss
from losses_catalog.arc_face import arc_face_loss
from losses_catalog.batch_all_triplet import batch_all_triplet_loss
from losses_catalog.batch_hard_triplet import batch_hard_triplet_loss
from losses_catalog.binomial_deviance import binomial_deviance_loss
from losses_catalog.circle import circle_loss
from losses_catalog.circle_undetached import circle_undetached_loss
from losses_catalog.contrastive import contrastive_loss
from losses_catalog.contrastive_cosine import contrastive_cosine_loss
from losses_catalog.contrastive_cosine_squared import contrastive_cosine_squared_loss
from losses_catalog.cos_face import cos_face_loss
from losses_catalog.cosent import cosent_loss
from losses_catalog.cosine_contrastive import cosine_contrastive_loss
from losses_catalog.cosine_regression import cosine_regression_loss
from losses_catalog.cpo import cpo_loss
from losses_catalog.curricular_face import curricular_face_loss
from losses_catalog.dcl import dcl_loss
from losses_catalog.debiased_contrastive import debiased_contrastive_loss
from losses_catalog.discopop import discopop_loss
from losses_catalog.distilled_softmax import distilled_softmax_loss
from losses_catalog.dpo import dpo_loss
from losses_catalog.dual_temperature import dual_temperature_loss
from losses_catalog.easy_positive_hard_negative import easy_positive_hard_negative_loss
from losses_catalog.false_negative_masked_info_nce import false_negative_masked_info_nce_loss
from losses_catalog.flat_nce import flat_nce_loss
from losses_catalog.focal_info_nce import focal_info_nce_loss
from losses_catalog.generalised_lifted_structure import generalised_lifted_structure_loss
from losses_catalog.guided_info_nce import guided_info_nce_loss
from losses_catalog.hard_negative_contrastive import hard_negative_contrastive_loss
from losses_catalog.hard_negative_nce import hard_negative_nce_loss
from losses_catalog.hardness_weighted_info_nce import hardness_weighted_info_nce_loss
from losses_catalog.hinge_embedding import hinge_embedding_loss
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.ipo import ipo_loss
from losses_catalog.lifted_structure import lifted_structure_loss
from losses_catalog.lmnn import lmnn_loss
from losses_catalog.margin import margin_loss
from losses_catalog.margin_mse import margin_mse_loss
from losses_catalog.mega_batch_margin import mega_batch_margin_loss
from losses_catalog.mil_nce import mil_nce_loss
from losses_catalog.multi_similarity import multi_similarity_loss
from losses_catalog.mv_am_softmax import mv_am_softmax_loss
from losses_catalog.mv_arc_softmax import mv_arc_softmax_loss
from losses_catalog.n_pair import n_pair_loss
from losses_catalog.nca_pair import nca_pair_loss
from losses_catalog.negative_cosine import negative_cosine_loss
from losses_catalog.negative_sampling import negative_sampling_loss
from losses_catalog.neighbourhood_components import neighbourhood_components_loss
from losses_catalog.normalised_softmax import normalised_softmax_loss
from losses_catalog.online_contrastive import online_contrastive_loss
from losses_catalog.p2s_grad import p2s_grad_loss
from losses_catalog.pnp import pnp_loss
from losses_catalog.pnp_decreasing import pnp_decreasing_loss
from losses_catalog.pnp_decreasing_quickly import pnp_decreasing_quickly_loss
from losses_catalog.pnp_increasing import pnp_increasing_loss
from losses_catalog.pnp_increasing_bounded import pnp_increasing_bounded_loss
from losses_catalog.poly_1 import poly_1_loss
from losses_catalog.proxy_anchor import proxy_anchor_loss
from losses_catalog.proxy_nca import proxy_nca_loss
from losses_catalog.proxy_nca_pp import proxy_nca_pp_loss
from losses_catalog.ranked_list import ranked_list_loss
from losses_catalog.recall_at_k import recall_at_k_loss
from losses_catalog.rince import rince_loss
from losses_catalog.s_face import s_face_loss
from losses_catalog.sel_hn import sel_hn_loss
from losses_catalog.selectively_hard_triplet import selectively_hard_triplet_loss
from losses_catalog.semi_hard_triplet import semi_hard_triplet_loss
from losses_catalog.siglip import siglip_loss
from losses_catalog.simpo import simpo_loss
from losses_catalog.sincere import sincere_loss
from losses_catalog.slic import slic_loss
from losses_catalog.smooth_ap import smooth_ap_loss
from losses_catalog.soft_nearest_neighbour import soft_nearest_neighbour_loss
from losses_catalog.soft_triple import soft_triple_loss
from losses_catalog.spectral_contrastive import spectral_contrastive_loss
from losses_catalog.sphere_face import sphere_face_loss
from losses_catalog.sppo import sppo_loss
from losses_catalog.sub_center_arc_face import sub_center_arc_face_loss
from losses_catalog.sup_con import sup_con_loss
from losses_catalog.sup_con_in import sup_con_in_loss
from losses_catalog.temperature_free_info_nce import temperature_free_info_nce_loss
from losses_catalog.threshold_consistent_margin import threshold_consistent_margin_loss
from losses_catalog.triplet import triplet_loss
from losses_catalog.triplet_soft_margin import triplet_soft_margin_loss
from losses_catalog.triplet_squared_euclidean import triplet_squared_euclidean_loss
from losses_catalog.tuplet_margin import tuplet_margin_loss
from losses_catalog.unified import unified_loss
from losses_catalog.universal_weighting import universal_weighting_loss
from losses_catalog.vse0 import vse0_loss
from losses_catalog.vse_pp import vse_pp_loss
from losses_catalog.weights import pair_weights, triplet_weights

__all__ = ["catalog", "families", "libraries", "pair_weights", "triplet_weights"]

libraries: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("libraries.json").read_text("utf-8"))
"""By library what it calls losses, and what they are called here."""

families: dict[str, tuple[Objective, ...]] = {
    "triplets": (
        triplet_loss,
        triplet_squared_euclidean_loss,
        triplet_soft_margin_loss,
        lmnn_loss,
        vse0_loss,
        vse_pp_loss,
        sel_hn_loss,
        selectively_hard_triplet_loss,
        batch_hard_triplet_loss,
        batch_all_triplet_loss,
        semi_hard_triplet_loss,
        easy_positive_hard_negative_loss,
        margin_mse_loss,
    ),
    "pairs": (
        contrastive_loss,
        contrastive_cosine_loss,
        contrastive_cosine_squared_loss,
        online_contrastive_loss,
        hinge_embedding_loss,
        margin_loss,
        binomial_deviance_loss,
        siglip_loss,
        negative_sampling_loss,
        universal_weighting_loss,
        mega_batch_margin_loss,
        ranked_list_loss,
        threshold_consistent_margin_loss,
        cosine_contrastive_loss,
        negative_cosine_loss,
        cosine_regression_loss,
    ),
    "softmax": (
        n_pair_loss,
        info_nce_loss,
        hardness_weighted_info_nce_loss,
        false_negative_masked_info_nce_loss,
        guided_info_nce_loss,
        focal_info_nce_loss,
        temperature_free_info_nce_loss,
        debiased_contrastive_loss,
        hard_negative_contrastive_loss,
        hard_negative_nce_loss,
        dual_temperature_loss,
        rince_loss,
        unified_loss,
        dcl_loss,
        flat_nce_loss,
        spectral_contrastive_loss,
        sup_con_loss,
        sup_con_in_loss,
        sincere_loss,
        mil_nce_loss,
        neighbourhood_components_loss,
        soft_nearest_neighbour_loss,
        tuplet_margin_loss,
        distilled_softmax_loss,
    ),
    "sets": (
        lifted_structure_loss,
        generalised_lifted_structure_loss,
        multi_similarity_loss,
        cosent_loss,
        circle_loss,
        circle_undetached_loss,
    ),
    "rankings": (
        smooth_ap_loss,
        recall_at_k_loss,
        pnp_loss,
        pnp_decreasing_loss,
        pnp_decreasing_quickly_loss,
        pnp_increasing_loss,
        pnp_increasing_bounded_loss,
    ),
    "proxies": (
        proxy_nca_loss,
        proxy_nca_pp_loss,
        proxy_anchor_loss,
        normalised_softmax_loss,
        poly_1_loss,
        cos_face_loss,
        soft_triple_loss,
        arc_face_loss,
        sub_center_arc_face_loss,
        sphere_face_loss,
        mv_am_softmax_loss,
        mv_arc_softmax_loss,
        curricular_face_loss,
        s_face_loss,
        p2s_grad_loss,
    ),
    "preferences": (
        dpo_loss,
        ipo_loss,
        slic_loss,
        simpo_loss,
        cpo_loss,
        sppo_loss,
        nca_pair_loss,
        apo_zero_loss,
        apo_down_loss,
        discopop_loss,
    ),
}
"""The losses by what they compare: triplets, pairs, each positive with all negatives, all positives with all negatives,
ranks, embeddings with class proxies, and completions of prompts.
"""

catalog: tuple[Objective, ...] = tuple(loss for family in families.values() for loss in family)
