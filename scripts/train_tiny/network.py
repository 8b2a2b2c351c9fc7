"""The network: a small llama (RMS norm, rotary positions, SwiGLU, tied embeddings), as llama.cpp computes it.

Rotary pairs are neighbours (2i, 2i+1), llama.cpp's order for this architecture, so weights need no reordering.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 2048
    width: int = 224
    layers: int = 3
    heads: int = 4
    hidden: int = 512
    context: int = 4096
    rope_base: float = 10000.0
    epsilon: float = 1e-5


class Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attn_norm = Norm(shape.width, shape.epsilon)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = Norm(shape.width, shape.epsilon)
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.attn_norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = attend(rotate(q, turn), rotate(k, turn), v)
        x = x + self.attn_output(attended.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.ffn_down(functional.silu(gate) * up)


class Network(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape.width, shape.epsilon)
        half = shape.width // shape.heads // 2
        self.register_buffer("speeds", shape.rope_base ** (-torch.arange(half) / half), persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.05)
        for block in self.blocks:
            for linear in (block.qkv, block.gate_up):
                nn.init.normal_(linear.weight, std=shape.width**-0.5)
            for linear in (block.attn_output, block.ffn_down):
                nn.init.zeros_(linear.weight)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return the last hidden states; ``logits`` turns the wanted ones into scores."""
        angle = positions[..., None].float() * self.speeds
        turn = torch.stack((angle.cos(), angle.sin()))[:, :, None]
        x = self.token_embd(tokens)
        for block in self.blocks:
            x = block(x, turn)
        return self.output_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.token_embd.weight.T


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention written out: for rows this short the fused kernel takes up to seven times as long on a CPU."""
    length = q.shape[-2]
    later = torch.full((length, length), float("-inf")).triu(1)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (scores + later).softmax(-1) @ v


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    cos, sin = turn
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
