"""The weights of the real BERT, in the model of bert.py: they fill masks without any training.

Run: python real_bert.py --fill "Paris is the [MASK] of France."
The first run downloads the weights from Hugging Face (0.4 GB).
"""

import torch
import tyro
from bert import DEVICE, Bert
from torch import nn
from transformers import AutoTokenizer, BertForPreTraining

NAMES = {  # theirs -> ours
    "bert.": "",
    "cls.": "",
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "segments",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "layers",
    "attention.self.query": "W_q",
    "attention.self.key": "W_k",
    "attention.self.value": "W_v",
    "attention.output.dense": "W_o",
    "attention.output.LayerNorm": "self_norm",
    "intermediate.dense": "ffn.0",
    "output.dense": "ffn.2",
    "output.LayerNorm": "ffn_norm",
    "predictions.transform.dense": "mlm.0",
    "predictions.transform.LayerNorm": "mlm.2",
    "predictions.bias": "bias",
    "pooler.dense": "nsp.0",
    "seq_relationship": "nsp.2",
}


def our_name(name):
    """'bert.encoder.layer.3.attention.self.key.bias' -> 'layers.3.W_k.bias'"""
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def convert(theirs):
    """Our model with the weights of a BertForPreTraining of Hugging Face."""
    sizes = theirs.config
    model = Bert(
        sizes.vocab_size,
        sizes.hidden_size,
        sizes.num_attention_heads,
        sizes.num_hidden_layers,
        sizes.intermediate_size,
        sizes.max_position_embeddings,
    )
    model.load_state_dict({our_name(name): w for name, w in theirs.named_parameters()})
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = sizes.layer_norm_eps
    return model


@torch.no_grad()
def main(
    model: str = "bert-base-uncased",
    fill: tuple[str, ...] = ("Paris is the [MASK] of France.",),
) -> None:
    """Prints the five likeliest words for each [MASK].

    Args:
        model: Name of a BERT at Hugging Face, or a folder with one.
        fill: Sentences with [MASK].
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        bert = convert(BertForPreTraining.from_pretrained(model)).to(DEVICE)
    except OSError:
        raise SystemExit(f"{model} is no folder with a BERT, and it could not be downloaded.")
    for sentence in fill:
        row = tokenizer(sentence, return_tensors="pt").to(DEVICE)
        is_target = row.input_ids == tokenizer.mask_token_id
        word_logits, _ = bert(row.input_ids, row.token_type_ids, is_target)
        for ids in word_logits.topk(5).indices:
            print(sentence, "->", *tokenizer.convert_ids_to_tokens(ids))


if __name__ == "__main__":
    tyro.cli(main)
