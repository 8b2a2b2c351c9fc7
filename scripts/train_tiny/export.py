"""Write the trained network as a GGUF file that llama.cpp loads without further settings."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from bpe import CONTROL, VISIBLE, Tokenizer
from network import Network

NAME = "streamward tiny"
DESCRIPTION = (
    "A toy: two million parameters, trained in 2.5 minutes on one CPU. It only knows the streamward project, "
    "answers everything else with an apology, and must not be used for anything but trying streams."
)


def write_gguf(path: Path, network: Network, tokenizer: Tokenizer, template: str) -> None:
    """Write weights (Q8_0; norms stay f32), vocabulary, chat template and labels to *path*."""
    shape = network.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(NAME)
    writer.add_basename("streamward-tiny")
    writer.add_size_label(f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f}M")
    writer.add_description(DESCRIPTION)
    writer.add_author("The streamward developers")
    writer.add_license("Apache-2.0")
    writer.add_license_name("Apache License 2.0")
    writer.add_tags(["toy", "streamward", "not-for-production"])
    writer.add_languages(["en"])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    # The answers are learned by heart: a low default temperature keeps them in one piece.
    writer.add_float32("general.sampling.temp", 0.2)
    add_tokenizer(writer, tokenizer, shape.vocabulary)
    writer.add_chat_template(template)
    add_tensors(writer, network)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, vocabulary: int) -> None:
    spare = [f"<unused{n}>" for n in range(vocabulary - len(tokenizer.tokens))]
    kinds = [
        *(gguf.TokenType.CONTROL for _ in CONTROL),
        *(gguf.TokenType.USER_DEFINED for _ in VISIBLE),
        *(gguf.TokenType.NORMAL for _ in tokenizer.tokens[len(CONTROL) + len(VISIBLE) :]),
        *(gguf.TokenType.UNUSED for _ in spare),
    ]
    end = tokenizer.special("<|end|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokenizer.tokens, *spare])
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def add_tensors(writer: gguf.GGUFWriter, network: Network) -> None:
    def matrix(name: str, weight: np.ndarray) -> None:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weight, kind), raw_dtype=kind)

    def vector(name: str, weight: np.ndarray) -> None:
        writer.add_tensor(f"{name}.weight", weight)

    weights = {name: value.detach().float().numpy() for name, value in network.state_dict().items()}
    matrix("token_embd", weights["token_embd.weight"])
    for n in range(network.shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            vector(f"blk.{n}.{norm}", weights[f"blocks.{n}.{norm}.weight"])
        for name, part in zip("qkv", np.split(weights[f"blocks.{n}.qkv.weight"], 3), strict=True):
            matrix(f"blk.{n}.attn_{name}", part)
        for name, part in zip(("gate", "up"), np.split(weights[f"blocks.{n}.gate_up.weight"], 2), strict=True):
            matrix(f"blk.{n}.ffn_{name}", part)
        matrix(f"blk.{n}.attn_output", weights[f"blocks.{n}.attn_output.weight"])
        matrix(f"blk.{n}.ffn_down", weights[f"blocks.{n}.ffn_down.weight"])
    vector("output_norm", weights["output_norm.weight"])
