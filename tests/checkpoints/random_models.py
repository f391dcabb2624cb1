"""Folders with small random models of the real classes of transformers, as their own writers leave them."""

from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = ("a", "##s", "the", "red", "dog", "cat", "runs", "sits", "on", "grass")
SIDE = 16
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SMALL, "vocab_size": 20, "max_position_embeddings": 12, "bos_token_id": 2, "eos_token_id": 3}
VISION = {**SMALL, "image_size": SIDE, "patch_size": 8}
SQUARE = {"height": SIDE, "width": SIDE}


def write_tokenizer(folder: Path, pad: str = "[PAD]") -> None:
    """Whole words between [CLS] and [SEP]; the numbers run from 0."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    numbers = {word: number for number, word in enumerate([*special, *WORDS])}
    made = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = Lowercase(), Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    named = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "eos_token": "[SEP]", "pad_token": pad}
    named |= {"mask_token": "[MASK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **named, model_max_length=12).save_pretrained(folder)


def _dual(model: Any, config: Any, processor: Any, folder: Path, **more: Any) -> None:
    model(config(text_config={**TEXT, **more}, vision_config=VISION, projection_dim=8)).save_pretrained(folder)
    processor.save_pretrained(folder)
    write_tokenizer(folder)


def clip(folder: Path) -> None:
    size = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE}
    processor = transformers.CLIPImageProcessorPil(**size)
    _dual(transformers.CLIPModel, transformers.CLIPConfig, processor, folder, pad_token_id=0)


def siglip(folder: Path) -> None:
    processor = transformers.SiglipImageProcessorPil(size=SQUARE)
    _dual(transformers.SiglipModel, transformers.SiglipConfig, processor, folder, pad_token_id=0)


def siglip2(folder: Path) -> None:
    vision = {**SMALL, "num_patches": 4, "patch_size": 8}
    config = transformers.Siglip2Config(text_config={**TEXT, "pad_token_id": 0}, vision_config=vision)
    transformers.Siglip2Model(config).save_pretrained(folder)
    transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=4).save_pretrained(folder)
    write_tokenizer(folder)


def chinese_clip(folder: Path) -> None:
    processor = transformers.ChineseCLIPImageProcessorPil(size=SQUARE, crop_size=SQUARE)
    model, config = transformers.ChineseCLIPModel, transformers.ChineseCLIPConfig
    _dual(model, config, processor, folder, pad_token_id=0)


def vit(folder: Path) -> None:
    transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size=SQUARE).save_pretrained(folder)


def bert(folder: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**TEXT)).save_pretrained(folder)
    write_tokenizer(folder)


def blip(folder: Path) -> None:
    vision = {**VISION, "hidden_size": 16}
    text = {**TEXT, "pad_token_id": 0, "encoder_hidden_size": 16}
    config = transformers.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=8)
    transformers.BlipForImageTextRetrieval(config).save_pretrained(folder)
    transformers.BlipImageProcessorPil(size=SQUARE).save_pretrained(folder)
    write_tokenizer(folder)


def vilt(folder: Path) -> None:
    config = transformers.ViltConfig(**TEXT, image_size=SIDE, patch_size=8)
    transformers.ViltForImageAndTextRetrieval(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": SIDE}, "size_divisor": 8}
    transformers.ViltImageProcessorPil(**size).save_pretrained(folder)
    write_tokenizer(folder)


def visual_bert(folder: Path) -> None:
    config = transformers.VisualBertConfig(**TEXT, visual_embedding_dim=6)
    transformers.VisualBertForPreTraining(config).save_pretrained(folder)
    write_tokenizer(folder)


def lxmert(folder: Path) -> None:
    layers = {"l_layers": 1, "x_layers": 1, "r_layers": 1, "num_attention_heads": 2}
    widths = {"hidden_size": 16, "intermediate_size": 32, "vocab_size": 20, "max_position_embeddings": 12}
    config = transformers.LxmertConfig(**widths, **layers, visual_feat_dim=6, num_qa_labels=3)
    transformers.LxmertForPreTraining(config).save_pretrained(folder)
    write_tokenizer(folder)


WRITERS = {f.__name__: f for f in (clip, siglip, siglip2, chinese_clip, vit, bert, blip, vilt, visual_bert, lxmert)}
